package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/secret"
)

// nodesBucket is where nodes that share a NATS say which keys they have.
const nodesBucket = "postern_nodes"

const (
	// beat is how often a node says that it is there, and nodeTTL for how long it
	// is believed.
	beat    = 3 * time.Second
	nodeTTL = 15 * time.Second
	// defaultSettle is how long a key is the next one before it seals: longer than a
	// beat, so that nodes whose word got lost with the servers' memory are heard again.
	defaultSettle = 10 * time.Second
)

// Node is what a node says of itself.
type Node struct {
	// Name is for people.
	Name string `json:"name"`
	// Keys are the ones it has, Uses the one it seals with.
	Keys []secret.KeyID `json:"keys"`
	Uses secret.KeyID   `json:"uses"`
}

func openNodes(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      nodesBucket,
		Description: "Postern: nodes that run, and which keys they have",
		TTL:         nodeTTL,
		// Nodes say it again soon enough.
		Storage:  jetstream.MemoryStorage,
		Replicas: max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", nodesBucket, err)
	}
	return kv, nil
}

// announce says which keys this node has.
func (r *Ring) announce(ctx context.Context) error {
	if r.nodes == nil {
		return nil
	}
	ids, _ := r.box.Keys()
	value, err := json.Marshal(Node{Name: r.name, Keys: ids, Uses: r.box.Uses()})
	if err != nil {
		return err
	}
	if _, err := r.nodes.Put(ctx, r.id, value); err != nil {
		return fmt.Errorf("say which keys this node has: %w", err)
	}
	return nil
}

// running gives the nodes that run, by name. It asks which there are and then for
// each: a watch, which gives both at once, misses a node that speaks at that moment.
func running(ctx context.Context, js jetstream.JetStream) ([]Node, error) {
	stream, err := js.Stream(ctx, "KV_"+nodesBucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	var nodes []Node
	for subject := range info.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("list the nodes: %w", err)
		}
		var node Node
		if err := json.Unmarshal(msg.Data, &node); err != nil {
			return nil, fmt.Errorf("what a node says (%s) cannot be read: %w", subject, err)
		}
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// lacking names the nodes that run without a key.
func (r *Ring) lacking(ctx context.Context, key secret.KeyID) ([]string, error) {
	if r.nodes == nil {
		return nil, nil
	}
	nodes, err := running(ctx, r.js)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, node := range nodes {
		if !slices.Contains(node.Keys, key) {
			names = append(names, node.Name)
		}
	}
	return names, nil
}

// alike reports whether all nodes that run seal with the same key.
func (r *Ring) alike(ctx context.Context) bool {
	if r.nodes == nil {
		return true
	}
	nodes, err := running(ctx, r.js)
	uses := r.box.Uses()
	return err == nil && !slices.ContainsFunc(nodes, func(n Node) bool { return n.Uses != uses })
}

// stopwatch measures since when something holds; the zero one has not been started.
type stopwatch struct{ begun time.Time }

// Reset starts it anew.
func (s *stopwatch) Reset() { s.begun = time.Now() }

// Passed reports whether it has run for so long, and starts it if need be.
func (s *stopwatch) Passed(d time.Duration) bool {
	if s.begun.IsZero() {
		s.Reset()
	}
	return time.Since(s.begun) >= d
}
