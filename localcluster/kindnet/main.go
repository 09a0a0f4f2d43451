// Command kindnet is the network of the kind nodes that are made here: kind's own
// kindnetd comes in an image, and no registry is asked. Like it, it writes the
// node's CNI configuration, routes to the pods of the other nodes, and enforces
// NetworkPolicies by kube-network-policies.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

const (
	cniFile = "/etc/cni/net.d/10-kind.conflist"
	// Each pod is routed by itself: what it sends always passes the node.
	cniConfig = `{"cniVersion":"0.4.0","name":"kind","plugins":[
 {"type":"ptp","ipMasq":false,
  "ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":%q}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
`
	table     = "kindnet"
	queue     = 100
	lookEvery = 2 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("NODE_NAME"), os.Getenv("POD_SUBNET")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name, podSubnet string) error {
	_, pods, err := net.ParseCIDR(podSubnet)
	if err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes().Lister()
	policies, err := networkpolicy.NewController(client,
		factory.Networking().V1().NetworkPolicies(), factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(), nil, nil, nil, nil,
		networkpolicy.Config{QueueID: queue, NodeName: name})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if err := filter(pods); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	leaveTableAlone(policies)
	go func() {
		// Without it nothing takes the packets from the queue.
		log.Fatal(policies.Run(ctx))
	}()
	for {
		found, err := nodes.List(labels.Everything())
		if err != nil {
			return err
		}
		for _, node := range found {
			if err := connect(node, name); err != nil {
				log.Printf("node %s: %v", node.Name, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

// leaveTableAlone has kube-network-policies write its own table once, when it
// starts, and not again for each pod that comes or goes; it has no setting for
// that. Where the kernel refuses that table, so many transactions that are taken
// back seem to leave rules of others incomplete in the end: kube-proxy's addresses of
// Services were gone after three thousand of them, on Linux 6.18.
func leaveTableAlone(policies *networkpolicy.Controller) {
	field := reflect.ValueOf(policies).Elem().FieldByName("queue")
	work := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Interface()
	work.(workqueue.TypedRateLimitingInterface[string]).ShutDown()
}

// connect tells the runtime which addresses our pods get, and the kernel where
// those of another node are.
func connect(node *corev1.Node, ours string) error {
	_, pods, err := net.ParseCIDR(node.Spec.PodCIDR)
	if err != nil {
		return nil // not given out yet
	}
	if node.Name == ours {
		return write(cniFile, fmt.Sprintf(cniConfig, pods))
	}
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return netlink.RouteReplace(&netlink.Route{Dst: pods, Gw: net.ParseIP(address.Address)})
		}
	}
	return nil
}

func write(file, content string) error {
	if there, err := os.ReadFile(file); err == nil && string(there) == content {
		return nil
	}
	// The runtime watches the folder, and takes no file of another ending.
	unfinished := filepath.Join(filepath.Dir(file), "unfinished")
	if err := os.WriteFile(unfinished, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(unfinished, file)
}

// filter sends the first packet of each connection from or to a pod to the queue
// that kube-network-policies answers, and lets pods reach other networks in the
// name of the node.
//
// kube-network-policies would do the first itself, by nftables' own `queue`. Some
// kernels have that only as xtables' target, and refuse its whole table; so it is
// done here by the target, which all have.
func filter(pods *net.IPNet) error {
	connection := &nftables.Conn{}
	ours := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: table}
	// Adding first makes deleting always succeed.
	connection.AddTable(ours)
	connection.DelTable(ours)
	connection.AddTable(ours)
	policies := connection.AddChain(&nftables.Chain{
		Name: "policies", Table: ours, Type: nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource - 5),
	})
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var whole []expr.Any
		for _, part := range parts {
			whole = append(whole, part...)
		}
		connection.AddRule(&nftables.Rule{Table: ours, Chain: chain, Exprs: whole})
	}
	rule(policies, sentByRoot(), accept())
	rule(policies, established(), accept())
	rule(policies, address(source, pods, expr.CmpOpEq), enqueue())
	rule(policies, address(destination, pods, expr.CmpOpEq), enqueue())
	translation := connection.AddChain(&nftables.Chain{
		Name: "translation", Table: ours, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	rule(translation, address(source, pods, expr.CmpOpEq),
		address(destination, pods, expr.CmpOpNeq), []expr.Any{&expr.Masq{}})
	return connection.Flush()
}

// Where an IPv4 header has the two addresses.
const (
	source      = 12
	destination = 16
)

func address(offset uint32, network *net.IPNet, is expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: network.Mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: is, Register: 1, Data: network.IP.To4()},
	}
}

// The kubelet looks after pods, whatever a policy says.
func sentByRoot() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
	}
}

func established() []expr.Any {
	states := uint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(states), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func accept() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
}

func enqueue() []expr.Any {
	// struct xt_NFQ_info_v1: the first queue and how many there are, aligned as the kernel does.
	info := xt.Unknown(make([]byte, 8))
	binary.NativeEndian.PutUint16(info[0:], queue)
	binary.NativeEndian.PutUint16(info[2:], 1)
	return []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 1, Info: &info}}
}
