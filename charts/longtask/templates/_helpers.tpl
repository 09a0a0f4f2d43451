{{- define "longtask.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "longtask.fullname" -}}
{{- $name := include "longtask.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Objects outside namespaces must differ between releases. */ -}}
{{- define "longtask.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "longtask.fullname" .) -}}
{{- end -}}

{{- define "longtask.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "longtask.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: longtask
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Arguments: root, component. These never change: a Deployment's selector is immutable. */ -}}
{{- define "longtask.selector" -}}
app.kubernetes.io/name: {{ include "longtask.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "longtask.api.name" -}}{{ include "longtask.fullname" . }}-api{{- end -}}
{{- define "longtask.operator.name" -}}{{ include "longtask.fullname" . }}-operator{{- end -}}

{{- define "longtask.api.account" -}}
{{- include "longtask.account" (dict "root" . "component" "api") -}}
{{- end -}}
{{- define "longtask.operator.account" -}}
{{- include "longtask.account" (dict "root" . "component" "operator") -}}
{{- end -}}

{{- /* Arguments: root, component. Rights and the admission policy know API and operator by their
       accounts, so each needs one of its own, that no other pod has by default. */ -}}
{{- define "longtask.account" -}}
{{- $account := index .root.Values .component "serviceAccount" -}}
{{- $made := ternary (include (printf "longtask.%s.name" .component) .root) "" $account.create -}}
{{- $name := $account.name | default $made -}}
{{- if not $name -}}
{{- fail (printf "%s.serviceAccount.name: needed where %s.serviceAccount.create is false" .component .component) -}}
{{- else if eq $name "default" -}}
{{- fail (printf "%s.serviceAccount.name: every pod of the namespace runs as `default`; name another" .component) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "longtask.tokenSecret" -}}
{{- .Values.api.existingTokenSecret | default (printf "%s-api-token" (include "longtask.fullname" .)) -}}
{{- end -}}

{{- /* The file of SQLite has one writer, and its volume mostly one node. */ -}}
{{- define "longtask.usesSqlite" -}}
{{- if not .Values.database.existingSecret -}}
{{- if gt (int64 .Values.api.replicaCount) 1 -}}
{{- fail "api.replicaCount: SQLite serves one replica of the API; for more set database.existingSecret to a Secret with the URL of a PostgreSQL database" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- define "longtask.dataClaim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-api-data" (include "longtask.fullname" .)) -}}
{{- end -}}

{{- /* These names are part of the contract with API and operator (`longtask_crds.callback`). */ -}}
{{- define "longtask.keysSecret" -}}longtask-callback-keys{{- end -}}
{{- define "longtask.taskAccount" -}}longtask-task{{- end -}}

{{- /* Arguments: root, image. */ -}}
{{- define "longtask.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry -}}
{{- $path := .image.repository -}}
{{- if $registry }}{{ $path = printf "%s/%s" $registry $path }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $path .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Numbers of a values file are floats, which a template prints from one million on as 1e+06. */ -}}
{{- define "longtask.integers" -}}
{{- range $index, $number := . -}}
{{- if $index }},{{ end -}}
{{- int64 $number -}}
{{- end -}}
{{- end -}}

{{- /* What API and operator share, the same word for word. */ -}}
{{- define "longtask.commonEnv" -}}
- name: LONGTASK_NAMESPACE
  value: {{ first .Values.taskNamespaces | quote }}
- name: LONGTASK_SECRETS_NAMESPACE
  value: {{ .Release.Namespace | quote }}
- name: LONGTASK_CALLBACK_ALLOW
  value: {{ join "," .Values.callbacks.allow | quote }}
- name: LONGTASK_CALLBACK_DENY
  value: {{ join "," .Values.callbacks.deny | quote }}
- name: LONGTASK_CALLBACK_SCHEDULE
  value: {{ include "longtask.integers" .Values.callbacks.schedule | quote }}
- name: LONGTASK_RUNNER_IMAGE
  value: {{ include "longtask.image" (dict "root" . "image" .Values.runner.image) | quote }}
- name: LONGTASK_RESOURCES
  value: {{ toJson .Values.tasks.resources | quote }}
- name: LONGTASK_RESOURCE_CAP
  value: {{ toJson .Values.tasks.resourceCap | quote }}
- name: LONGTASK_PUBLIC_URL
  value: {{ .Values.publicUrl | quote }}
- name: LONGTASK_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end -}}

{{- /* Arguments: root, values of the component, account. The head of a pod's spec. */ -}}
{{- define "longtask.podHead" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
# The variables of a Service named longtask-api would begin with LONGTASK_API_.
enableServiceLinks: false
# Enough for the API: 5 s of preStop, 10 s for open answers, the rest to end in order.
terminationGracePeriodSeconds: 30
securityContext:
  {{- include "longtask.podSecurityContext" .values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
{{- with index $.values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "longtask.podSecurityContext" -}}
{{- $own := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (merge (deepCopy .) $own) -}}
{{- end -}}

{{- define "longtask.securityContext" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (merge (deepCopy .) $own) -}}
{{- end -}}

{{- define "longtask.privateNetworks" -}}
v4: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.0.2.0/24, 192.88.99.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/3, 168.63.129.16/32]
v6: ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]
{{- end -}}

{{- /* A rule of a NetworkPolicy: the internet, less the networks that the address guard refuses. */ -}}
{{- define "longtask.internetEgress" -}}
{{- $except := include "longtask.privateNetworks" . | fromYaml -}}
{{- $v4 := $except.v4 -}}
{{- $v6 := $except.v6 -}}
{{- range .Values.callbacks.deny -}}
{{- if not (contains ":" .) }}{{ $v4 = append $v4 . }}{{ else if regexMatch "^[23]" . }}{{ $v6 = append $v6 . }}{{ end -}}
{{- end -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{ toJson $v4 }}
    - ipBlock:
        cidr: 2000::/3
        except: {{ toJson $v6 }}
{{- end -}}

{{- /* Where callbacks may go: public addresses, allowed networks and addresses; allowed host names
       cannot be said here. */ -}}
{{- define "longtask.callbackEgress" -}}
{{- include "longtask.internetEgress" . }}
{{- include "longtask.allowedEgress" .Values.callbacks.allow }}
{{- end -}}

{{- /* What a list of allowed places says beyond public addresses: its networks and addresses. */ -}}
{{- define "longtask.allowedEgress" -}}
{{- range . }}
{{- if regexMatch "^[0-9.]+(/[0-9]+)?(:[0-9]+)?$" . }}
{{- $parts := splitList ":" . }}
- to:
    - ipBlock:
        cidr: {{ ternary (first $parts) (printf "%s/32" (first $parts)) (contains "/" (first $parts)) }}
  {{- if gt (len $parts) 1 }}
  ports:
    - {protocol: TCP, port: {{ last $parts }}}
  {{- end }}
{{- else if regexMatch "^[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*(/[0-9]+)?$" . }}
- to:
    - ipBlock:
        cidr: {{ ternary . (printf "%s/128" .) (contains "/" .) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "longtask.dnsEgress" -}}
- to:
    - namespaceSelector: {}
    {{- range .Values.networkPolicy.dnsCidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- /* Where the API server is, as {cidrs, source}: as the values say (source: values), else as the
       cluster says (cluster), else anywhere (nothing). Both its endpoints and the Service's own
       addresses: network plugins differ in which of them they see. */ -}}
{{- define "longtask.apiServer" -}}
{{- $cidrs := .Values.networkPolicy.apiServer.cidrs -}}
{{- $source := "values" -}}
{{- if not $cidrs -}}
{{- $source = "cluster" -}}
{{- $slice := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" | default dict -}}
{{- $addresses := list -}}
{{- range $slice.endpoints -}}
{{- $addresses = concat $addresses .addresses -}}
{{- end -}}
{{- if $addresses -}}
{{- $service := lookup "v1" "Service" "default" "kubernetes" | default dict -}}
{{- $addresses = concat $addresses (dig "spec" "clusterIPs" list $service) -}}
{{- end -}}
{{- range $addresses | uniq | sortAlpha -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) -}}
{{- end -}}
{{- end -}}
{{- if not $cidrs -}}
{{- $source = "nothing" -}}
{{- $cidrs = list "0.0.0.0/0" "::/0" -}}
{{- end -}}
{{- dict "cidrs" $cidrs "source" $source | toJson -}}
{{- end -}}

{{- define "longtask.apiServerEgress" -}}
- to:
    {{- range (include "longtask.apiServer" . | fromJson).cidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- /* Arguments: root, name, namespace, component. Binds the Role of that name to the component. */ -}}
{{- define "longtask.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "longtask.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include (printf "longtask.%s.account" .component) .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- /* What a program's report, or a large result, does not change of a part of the status: all but
  these keys, and in the result all but the reference. */}}
{{- define "longtask.onlyReported" }}
{{- $new := index . 0 }}
{{- $old := index . 1 }}
{{- $free := printf "[%s]" (index . 2) -}}
{{ $new }}.all(key, key in {{ $free }} || (key in {{ $old }} && {{ $new }}[key] == {{ $old }}[key]))
        && {{ $old }}.all(key, key in {{ $free }} || key in {{ $new }})
        && {{ $new }}.?result.?value == {{ $old }}.?result.?value
        && {{ $new }}.?result.?mediaType == {{ $old }}.?result.?mediaType
        && ({{ $new }}.?report == {{ $old }}.?report
        || (!{{ $old }}.?report.hasValue() && {{ $new }}.?report.?attempt == {{ $new }}.?attempt))
{{- end }}
