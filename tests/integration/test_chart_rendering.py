"""The chart by helm: what it refuses, and what it makes."""

import json
from collections.abc import Callable
from ipaddress import ip_network

import pytest
import yaml

from chart_support import CHART, Object, helm, notes, one, render, template
from longtask_adapters.settings import CommonSettings
from longtask_api import server
from longtask_crds import runner_contract


def env(deployment: Object) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def api_server_cidrs(objects: list[Object], component: str) -> list[str]:
    """Return where the component's NetworkPolicy lets it reach the API server."""
    policy = one(objects, "NetworkPolicy", f"longtask-{component}")
    (rule,) = (
        rule
        for rule in policy["spec"]["egress"]
        if {"protocol": "TCP", "port": 6443} in rule.get("ports", [])
    )
    return [to["ipBlock"]["cidr"] for to in rule["to"]]


def test_lint_finds_nothing() -> None:
    out = helm("lint", "--strict", str(CHART))
    assert out.returncode == 0, out.stdout


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("nonsense=1", "nonsense"),
        ("ingress.enable=true", "/ingress"),
        ("operator.replicaCount=two", "/operator/replicaCount"),
        ("api.service.type=NodePort", "/api/service"),
        ("taskNamespaces={a,b}", "/taskNamespaces"),
        ("taskNamespaces={}", "/taskNamespaces"),
        ("callbacks.schedule=5", "/callbacks/schedule"),
        ("callbacks.deny={example.com}", "/callbacks/deny"),
        ("callbacks.allow={https://example.com/x}", "/callbacks/allow"),
        ("api.image.digest=latest", "/api/image/digest"),
        ("tasks.resourceCap.gpu=1", "/tasks/resourceCap"),
        ("tasks.resourceCap.memory=much", "/tasks/resourceCap/memory"),
        (r"tasks.resourceCap.nvidia\.com/gpu=1.5", "/tasks/resourceCap/nvidia.com~1gpu"),
        (r"tasks.resources.limits.nvidia\.com/gpu=1", "/tasks/resources/limits"),
        ("publicUrl=example.com", "/publicUrl"),
        ("defaultQueue.maxRunning=-1", "/defaultQueue/maxRunning"),
        ("httpRoute.enabled=true", "/httpRoute/parentRefs"),
        ("admission.statusWriters={a'b}", "/admission/statusWriters"),
        ("logLevel=loud", "/logLevel"),
        ("persistence.size=large", "/persistence/size"),
        ("results.maxBytes=32Mi", "/results/maxBytes"),
        ("database.url=postgresql://x", "/database"),
        ("accounts.oidc.issuer=http://id.example.com", "/accounts/oidc/issuer"),
        ("accounts.oidc.secret=x", "/accounts/oidc"),
        ("accounts.kubernetes=yes-please", "/accounts/kubernetes"),
        ("accounts.registration=everybody", "/accounts/registration"),
        ("accounts.tokenDays=366", "/accounts/tokenDays"),
        ("mail.mode=send", "/mail/smtp/host"),
        ("mail.smtp.tls=perhaps", "/mail/smtp/tls"),
        ("mail.smtp.password=x", "/mail/smtp"),
        ("mail.from=LongTask", "/mail/from"),
        ("mail.allowedDomains={@example.com}", "/mail/allowedDomains"),
        (r"mail.templates.other\.txt=x", "/mail/templates"),
    ],
)
def test_wrong_values_are_refused(setting: str, where: str) -> None:
    out = template("--set", setting)
    assert out.returncode != 0
    assert where in out.stderr


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        pytest.param(
            ("api.serviceAccount.create=false",),
            "api.serviceAccount.name: needed",
            id="an-account-that-nobody-made-or-named",
        ),
        pytest.param(
            ("api.serviceAccount.create=false", "operator.serviceAccount.create=false"),
            "serviceAccount.name: needed",
            id="nor-for-both",
        ),
        pytest.param(
            ("operator.serviceAccount.create=false", "operator.serviceAccount.name=default"),
            "operator.serviceAccount.name: every pod",
            id="the-account-that-every-pod-has",
        ),
        pytest.param(
            ("api.serviceAccount.name=both", "operator.serviceAccount.name=both"),
            "must differ",
            id="one-account-for-both",
        ),
        pytest.param(
            ("operator.serviceAccount.create=false", "operator.serviceAccount.name=longtask-api"),
            "must differ",
            id="the-others-made-account",
        ),
    ],
)
def test_api_and_operator_have_accounts_of_their_own(settings: tuple[str, ...], where: str) -> None:
    out = template(*(part for setting in settings for part in ("--set", setting)))
    assert out.returncode != 0
    assert where in out.stderr


def test_an_account_that_is_there_already_is_used() -> None:
    objects = render("api.serviceAccount.create=false", "api.serviceAccount.name=mine")
    pod = one(objects, "Deployment", "longtask-api")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mine"
    made = [o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"]
    assert made == ["longtask-operator", "longtask-task"]


def test_a_guarded_install_warns_of_nothing() -> None:
    assert "WARNING" not in notes("networkPolicy.apiServer.cidrs={10.0.0.8/32}")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("api.insecure=true", "api.insecure is set"),
        ("persistence.enabled=false", "persistence.enabled is off"),
        ("networkPolicy.enabled=false", "networkPolicy.enabled is off"),
        ("admission.enabled=false", "admission.enabled is off"),
        ("rbac.create=false", "rbac.create is off"),
        ("tasks.createNamespaces=false", "tasks.createNamespaces is off"),
        ("networkPolicy.apiServer.cidrs=null", "could not be looked up"),
    ],
)
def test_a_missing_guard_is_told(setting: str, words: str) -> None:
    told = notes("networkPolicy.apiServer.cidrs={10.0.0.8/32}", setting)
    (warning,) = [line for line in told.split("\n\n") if line.startswith("WARNING: ")]
    assert words in " ".join(warning.split())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param((), ["0.0.0.0/0", "::/0"], id="everywhere-when-no-cluster-is-asked"),
        pytest.param(
            ("networkPolicy.apiServer.cidrs={10.0.0.8/32}",), ["10.0.0.8/32"], id="as-it-was-said"
        ),
    ],
)
@pytest.mark.parametrize("component", ["api", "operator"])
def test_where_the_api_server_is(
    settings: tuple[str, ...], expected: list[str], component: str
) -> None:
    assert api_server_cidrs(render(*settings), component) == expected


def test_the_api_server_is_looked_up(kubectl: Callable[..., str]) -> None:
    def found(kind: str) -> Object:
        return json.loads(kubectl("get", kind, "kubernetes", "-n", "default", "-o", "json"))

    addresses = [*found("service")["spec"]["clusterIPs"]]
    for endpoint in found("endpointslice")["endpoints"]:
        addresses += endpoint["addresses"]
    out = template("--dry-run=server")
    assert out.returncode == 0, out.stderr
    objects = [document for document in yaml.safe_load_all(out.stdout) if document]
    cidrs = api_server_cidrs(objects, "operator")
    assert {ip_network(cidr) for cidr in cidrs} == {ip_network(address) for address in addresses}


OIDC = ("accounts.oidc.issuer=https://id.example.com", "accounts.oidc.audience=longtask")


def test_who_may_register_is_told_to_the_api_alone() -> None:
    def told(*settings: str, name: str = "longtask-api") -> list[str | None]:
        variables = env(one(render(*settings), "Deployment", name))
        words = ("REGISTRATION", "SESSION_HOURS", "TOKEN_DAYS")
        return [variables.get(f"LONGTASK_{word}") for word in words]

    assert told() == ["off", "12", "90"]
    others = ("accounts.registration=invite", "accounts.sessionHours=8", "accounts.tokenDays=30")
    assert told(*others) == ["invite", "8", "30"]
    assert told(name="longtask-operator") == [None] * 3


def test_an_identity_provider_is_told_to_the_api_alone() -> None:
    roles = ("accounts.oidc.rolesClaim=realm_access.roles", "accounts.oidc.adminValue=boss")
    objects = render(*OIDC, *roles)
    api = env(one(objects, "Deployment", "longtask-api"))
    assert {name: value for name, value in api.items() if "OIDC" in name} == {
        "LONGTASK_OIDC_ISSUER": "https://id.example.com",
        "LONGTASK_OIDC_AUDIENCE": "longtask",
        "LONGTASK_OIDC_ROLES_CLAIM": "realm_access.roles",
        "LONGTASK_OIDC_ADMIN_VALUE": "boss",
    }
    assert "OIDC" not in str(env(one(objects, "Deployment", "longtask-operator")))


def test_an_identity_provider_needs_an_audience() -> None:
    out = template("--set", OIDC[0])
    assert out.returncode != 0
    assert "accounts.oidc.audience" in out.stderr


def test_a_private_identity_provider_is_reached_where_it_is_said_to_be() -> None:
    place = ("networkPolicy.oidc.cidrs={10.1.0.0/16}", "networkPolicy.oidc.ports={8443}")
    wanted = {
        "ports": [{"protocol": "TCP", "port": 8443}],
        "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
    }
    policy = one(render(*OIDC, *place), "NetworkPolicy", "longtask-api")
    assert wanted in policy["spec"]["egress"]
    policy = one(render(*place), "NetworkPolicy", "longtask-api")
    assert wanted not in policy["spec"]["egress"]


def test_mails_are_logged_by_default() -> None:
    objects = render()
    told = env(one(objects, "Deployment", "longtask-api"))
    assert told["LONGTASK_MAIL_MODE"] == "log"
    assert "LONGTASK_MAIL_HOST" not in told
    assert not [o for o in objects if o["kind"] == "ConfigMap" and "mail" in o["metadata"]["name"]]
    assert not [
        name for name in env(one(objects, "Deployment", "longtask-operator")) if "MAIL" in name
    ]


def test_the_mail_server_is_told_to_the_api_and_it_may_reach_it() -> None:
    templates = {"subject.txt": '{{ last.name }}: "x"\nb'}
    mail = {
        "mode": "send",
        "from": "LongTask <longtask@example.org>",
        "smtp": {"host": "mail.example.org", "port": 465, "tls": "tls", "existingSecret": "smtp"},
        "allowedDomains": ["example.com", "*"],
        "templates": templates,
    }
    cidrs = {"smtp": {"cidrs": ["10.9.0.0/16"]}}
    objects = render(values={"mail": mail, "networkPolicy": cidrs})
    deployment = one(objects, "Deployment", "longtask-api")
    told = {key: value for key, value in env(deployment).items() if "MAIL" in key}
    assert told == {
        "LONGTASK_MAIL_MODE": "send",
        "LONGTASK_MAIL_FROM": "LongTask <longtask@example.org>",
        "LONGTASK_MAIL_HOST": "mail.example.org",
        "LONGTASK_MAIL_PORT": "465",
        "LONGTASK_MAIL_TLS": "tls",
        "LONGTASK_MAIL_CREDENTIALS": "/var/run/longtask/smtp",
        "LONGTASK_MAIL_ALLOWED_DOMAINS": "example.com,*",
        "LONGTASK_MAIL_TEMPLATES": "/etc/longtask/mail",
    }
    pod = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["smtp"]["secret"]["secretName"] == "smtp"
    assert volumes["mail"]["configMap"]["name"] == "longtask-mail"
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert (mounts["smtp"], mounts["mail"]) == ("/var/run/longtask/smtp", "/etc/longtask/mail")
    assert one(objects, "ConfigMap", "longtask-mail")["data"] == templates
    egress = one(objects, "NetworkPolicy", "longtask-api")["spec"]["egress"]
    assert {
        "ports": [{"protocol": "TCP", "port": 465}],
        "to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}],
    } in egress


def test_without_accounts_of_kubernetes_nobodys_rights_are_asked_for() -> None:
    objects = render("accounts.kubernetes=false")
    api = env(one(objects, "Deployment", "longtask-api"))
    assert api["LONGTASK_KUBERNETES_ACCOUNTS"] == "false"
    assert "subjectaccessreviews" not in str(objects)


def test_both_components_are_told_the_same() -> None:
    objects = render("callbacks.allow={10.1.2.3:8080,hooks.corp}", "callbacks.deny={34.0.0.0/8}")
    api = env(one(objects, "Deployment", "longtask-api"))
    operator = env(one(objects, "Deployment", "longtask-operator"))
    shared = set(api) & set(operator)
    assert {name: api[name] for name in shared} == {name: operator[name] for name in shared}
    assert api["LONGTASK_CALLBACK_ALLOW"] == "10.1.2.3:8080,hooks.corp"
    assert api["LONGTASK_CALLBACK_DENY"] == "34.0.0.0/8"
    assert operator["LONGTASK_CALLBACK_SCHEDULE"].startswith("0,5,300,")
    assert operator["LONGTASK_RUNNER_API_URL"] == "http://longtask-api.longtask.svc:8081"
    assert json.loads(api["LONGTASK_RESOURCE_CAP"])["memory"] == "8Gi"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param((), {}, id="nothing-is-said-where-there-is-nothing-to-say"),
        pytest.param(
            ("types.httpFetchAllow={10.1.2.3,hooks.corp}",),
            {"HTTP_FETCH_ALLOW": "10.1.2.3,hooks.corp"},
            id="what-is-allowed-to-it-alone",
        ),
        pytest.param(
            ("callbacks.deny={34.0.0.0/8,35.0.0.0/8}",),
            {"HTTP_FETCH_DENY": "34.0.0.0/8,35.0.0.0/8"},
            id="what-is-denied-to-callbacks-is-denied-to-it",
        ),
        pytest.param(
            ("types.httpFetchAllow={34.1.2.3}", "callbacks.deny={34.0.0.0/8}"),
            {"HTTP_FETCH_ALLOW": "34.1.2.3", "HTTP_FETCH_DENY": "34.0.0.0/8"},
            id="both",
        ),
    ],
)
def test_what_http_fetch_may_reach(settings: tuple[str, ...], expected: dict[str, str]) -> None:
    spec = one(render(*settings), "LongTaskType", "http-fetch")["spec"]
    entries = spec.get("container", {}).get("env", [])
    assert {entry["name"]: entry["value"] for entry in entries} == expected


def test_without_a_token_none_is_mounted() -> None:
    assert "LONGTASK_TOKEN_FILE" not in env(
        one(render("api.insecure=true"), "Deployment", "longtask-api")
    )


def test_every_pod_of_ours_is_restricted() -> None:
    objects = render()
    pods = [o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"]
    pods += [o["spec"] for o in objects if o["kind"] == "Pod"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["requests"])
            # No processor limit: an idle processor is for whoever has work.
            assert {"memory", "ephemeral-storage"} == set(container["resources"]["limits"])


def test_great_numbers_arrive_as_they_were_written() -> None:
    # A template prints a float from one million on as 1e+06.
    values = {
        "callbacks": {"schedule": [0, 1_000_000, 31_536_000]},
        "defaultQueue": {"maxRunning": 2_000_000},
        "api": {"replicaCount": 1_000_000},
        "operator": {"replicaCount": 1_000_000},
        "database": {"existingSecret": "postgresql"},
        "results": {"maxBytes": 33_554_433},
        "tasks": {"resourceCap": {"memory": 16_000_000_000}},
    }
    objects = render(values=values)
    api = one(objects, "Deployment", "longtask-api")
    operator = one(objects, "Deployment", "longtask-operator")
    assert env(operator)["LONGTASK_CALLBACK_SCHEDULE"] == "0,1000000,31536000"
    assert (
        env(operator)["LONGTASK_RESOURCE_CAP"]
        == '{"cpu":"4","ephemeral-storage":"10Gi","memory":16000000000}'
    )
    assert env(api)["LONGTASK_RESULT_LIMIT"] == "33554433"
    queue = one(objects, "LongTaskQueue", "default")
    replicas = [deployment["spec"]["replicas"] for deployment in (api, operator)]
    for number in (*replicas, queue["spec"]["maxRunning"]):
        assert isinstance(number, int)
    (limits,) = one(objects, "LimitRange", "longtask")["spec"]["limits"]
    assert int(limits["max"]["memory"]) == 16_000_000_000


def test_extended_resources_are_capped_and_counted() -> None:
    tasks = {"resourceCap": {"nvidia.com/gpu": 2}, "quota": {"requests.nvidia.com/gpu": 8}}
    objects = render(values={"tasks": tasks})
    for component in ("api", "operator"):
        told = env(one(objects, "Deployment", f"longtask-{component}"))["LONGTASK_RESOURCE_CAP"]
        cap = CommonSettings(resource_cap=json.loads(told)).installation.resource_cap
        assert (cap["nvidia.com/gpu"], cap["memory"]) == ("2", "8Gi")
    quota = one(objects, "ResourceQuota", "longtask")["spec"]["hard"]
    assert (quota["requests.nvidia.com/gpu"], quota["count/jobs.batch"]) == (8, "10000")
    # It has no say in what a node's devices are.
    assert "nvidia" not in json.dumps(one(objects, "LimitRange", "longtask"))


def test_how_many_tasks_there_may_be_is_bounded_by_who_asks_for_it() -> None:
    key = "count/longtasks.longtask.dev"

    def hard(values: Object) -> Object:
        found: Object = one(render(values=values), "ResourceQuota", "longtask")["spec"]["hard"]
        return found

    usual = hard({})
    assert key not in usual, "it would refuse the first tasks of an installation"
    assert hard({"tasks": {"quota": {key: "20000"}}}) == usual | {key: "20000"}


def volumes(deployment: Object) -> dict[str, Object]:
    """Return where each volume of the pod comes from."""
    return {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}


def kinds(objects: list[Object]) -> set[str]:
    return {document["kind"] for document in objects}


def test_the_database_is_a_file_on_a_volume_that_stays() -> None:
    objects = render()
    api = one(objects, "Deployment", "longtask-api")
    claim = one(objects, "PersistentVolumeClaim", "longtask-api-data")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
    }
    mounted = volumes(api)["data"]["persistentVolumeClaim"]
    assert mounted == {"claimName": "longtask-api-data"}
    assert env(api)["LONGTASK_DATA_DIRECTORY"] == "/var/lib/longtask"
    # Two pods would write to one file.
    one_after_the_other = {"maxSurge": 0, "maxUnavailable": 1}
    assert api["spec"]["strategy"]["rollingUpdate"] == one_after_the_other


@pytest.mark.parametrize(
    ("said", "named"),
    [("", None), ("fast", "fast"), ("-", "")],
    ids=["the-default-class", "a-class", "no-class"],
)
def test_the_class_of_the_volume(said: str, named: str | None) -> None:
    claim = one(
        render(values={"persistence": {"storageClass": said}}),
        "PersistentVolumeClaim",
        "longtask-api-data",
    )
    assert claim["spec"].get("storageClassName") == named


def test_a_claim_that_is_there_already_is_used() -> None:
    objects = render("persistence.existingClaim=mine")
    assert "PersistentVolumeClaim" not in kinds(objects)
    data = volumes(one(objects, "Deployment", "longtask-api"))["data"]
    assert data["persistentVolumeClaim"] == {"claimName": "mine"}


def test_without_a_volume_the_file_goes_with_the_pod() -> None:
    objects = render("persistence.enabled=false")
    assert "PersistentVolumeClaim" not in kinds(objects)
    assert volumes(one(objects, "Deployment", "longtask-api"))["data"]["emptyDir"] == {}


def test_a_database_elsewhere_needs_no_volume_and_serves_many_replicas() -> None:
    objects = render(
        "database.existingSecret=pg",
        "database.existingSecretKey=uri",
        "api.replicaCount=3",
        "networkPolicy.database.cidrs={10.0.0.7/32}",
        "networkPolicy.database.ports={6432}",
    )
    assert "PersistentVolumeClaim" not in kinds(objects)
    api = one(objects, "Deployment", "longtask-api")
    assert "strategy" not in api["spec"]
    secret = volumes(api)["database"]["secret"]
    assert (secret["secretName"], secret["items"]) == ("pg", [{"key": "uri", "path": "url"}])
    assert env(api)["LONGTASK_DATABASE_URL_FILE"] == "/var/run/longtask/database/url"
    assert "LONGTASK_DATA_DIRECTORY" not in env(api)
    egress = one(objects, "NetworkPolicy", "longtask-api")["spec"]["egress"]
    database = {
        "ports": [{"protocol": "TCP", "port": 6432}],
        "to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}],
    }
    assert database in egress


def test_more_replicas_than_sqlite_serves_are_refused() -> None:
    out = template("--set", "api.replicaCount=2")
    assert out.returncode != 0
    assert "api.replicaCount: SQLite serves one replica" in out.stderr
    assert "database.existingSecret" in out.stderr


def test_the_operator_has_a_token_for_results_and_the_api_knows_whose_it_is() -> None:
    objects = render("operator.serviceAccount.name=mine")
    operator = one(objects, "Deployment", "longtask-operator")
    (source,) = volumes(operator)["api-token"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == runner_contract.OPERATOR_AUDIENCE
    api = one(objects, "Deployment", "longtask-api")
    assert env(api)["LONGTASK_OPERATOR_ACCOUNT"] == "system:serviceaccount:longtask:mine"


def test_an_upgrade_ends_no_operator_before_the_next_one_is_ready() -> None:
    operator = one(render("operator.replicaCount=2"), "Deployment", "longtask-operator")["spec"]
    assert operator["replicas"] == 2
    assert operator["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (container,) = operator["template"]["spec"]["containers"]
    (pod_name,) = (e for e in container["env"] if e["name"] == "LONGTASK_POD_NAME")
    assert pod_name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_api_serves_on_until_nobody_sends_to_it() -> None:
    pod = one(render(), "Deployment", "longtask-api")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # The kubelet's own sleep: the image needs no shell for it.
    seconds = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert seconds == 5
    # What is open by then has `server._GRACE_SECONDS`, and the rest of the process a few more.
    assert pod["terminationGracePeriodSeconds"] >= seconds + server._GRACE_SECONDS + 5


def test_the_types_arrive_as_they_stand_in_their_files() -> None:
    # Helm reads YAML 1.1, where a plain `n` is `false`; this reader does not.
    objects = render()
    for path in (CHART / "files" / "types").glob("*.yaml"):
        source = yaml.safe_load(path.read_text())
        assert one(objects, "LongTaskType", source["metadata"]["name"])["spec"] == source["spec"]


def test_nothing_is_made_outside_its_place() -> None:
    cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"} | {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    for found in render("ingress.enabled=true"):
        if found["kind"] not in cluster:
            assert found["metadata"]["namespace"] in {"longtask", "longtasks"}, found["metadata"]


def test_an_image_by_digest() -> None:
    objects = render(f"api.image.digest=sha256:{'0' * 64}", "global.imageRegistry=registry:5000")
    pod = one(objects, "Deployment", "longtask-api")["spec"]["template"]["spec"]
    expected = f"registry:5000/longtask/longtask-api@sha256:{'0' * 64}"
    assert pod["containers"][0]["image"] == expected


def test_the_api_reaches_the_receivers_that_the_operator_reaches() -> None:
    objects = render("callbacks.allow={192.168.7.9:8080,10.1.0.0/16,hooks.example}")

    def egress(component: str) -> list[str]:
        policy = one(objects, "NetworkPolicy", f"longtask-{component}")
        return [json.dumps(rule, sort_keys=True) for rule in policy["spec"]["egress"]]

    of_api, of_operator = set(egress("api")), set(egress("operator"))
    assert of_api < of_operator
    told = " ".join(of_api)
    assert "192.168.7.9/32" in told
    assert "10.1.0.0/16" in told
    assert "0.0.0.0/0" in told
    # All else that the operator reaches is the API itself, for results.
    assert len(of_operator - of_api) == 1


def test_either_may_reach_more() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}
    for component in ("api", "operator"):
        objects = render(values={"networkPolicy": {f"{component}ExtraEgress": [rule]}})
        for policy in ("api", "operator"):
            rules = one(objects, "NetworkPolicy", f"longtask-{policy}")["spec"]["egress"]
            assert (rule in rules) == (policy == component)


def test_what_http_fetch_may_reach_its_pods_do_reach() -> None:
    rule = {"to": [{"podSelector": {"matchLabels": {"app": "mirror"}}}]}
    given = {"networkPolicy": {"tasksExtraEgress": [rule]}}
    usual = one(render(), "NetworkPolicy", "longtask-tasks-internet")["spec"]["egress"]
    objects = render("types.httpFetchAllow={10.1.2.3:8080,10.4.0.0/16,mirror.corp}", values=given)
    egress = one(objects, "NetworkPolicy", "longtask-tasks-internet")["spec"]["egress"]
    assert egress[: len(usual)] == usual
    assert egress[len(usual) :] == [
        {
            "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}],
            "ports": [{"protocol": "TCP", "port": 8080}],
        },
        {"to": [{"ipBlock": {"cidr": "10.4.0.0/16"}}]},
        rule,
    ]


def test_browsers_get_a_guarded_cookie_unless_they_come_by_http() -> None:
    usual = env(one(render(), "Deployment", "longtask-api"))
    assert usual["LONGTASK_DASHBOARD_PLAIN_HTTP"] == "false"
    assert "LONGTASK_HOSTS" not in usual
    given = ("api.dashboard.plainHttp=true", "api.hosts={longtask.test,longtask-api.longtask.svc}")
    told = env(one(render(*given), "Deployment", "longtask-api"))
    assert told["LONGTASK_DASHBOARD_PLAIN_HTTP"] == "true"
    assert told["LONGTASK_HOSTS"] == "longtask.test,longtask-api.longtask.svc"
