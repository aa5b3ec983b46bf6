package gateway

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// inProcess is a client connection to services of the same process: a unary
// call is a function call, through the interceptor that it would meet over the
// network. Streams take the connection beneath, which has the flow control that
// they need.
//
// It saves what a hop costs: encoding and decoding the answer, and four changes
// of goroutine.
type inProcess struct {
	grpc.ClientConnInterface
	interceptor grpc.UnaryServerInterceptor
	methods     map[string]unaryMethod
}

// unaryMethod is a method together with the service that has it.
type unaryMethod struct {
	service any
	handle  grpc.MethodHandler
}

// RegisterService implements [grpc.ServiceRegistrar].
func (c *inProcess) RegisterService(desc *grpc.ServiceDesc, service any) {
	if c.methods == nil {
		c.methods = make(map[string]unaryMethod)
	}
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = unaryMethod{service: service, handle: m.Handler}
	}
}

// Invoke implements [grpc.ClientConnInterface]. Call options are about the wire,
// and there is none. The answer shares its content with the service's, which
// gives it away.
func (c *inProcess) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := c.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewIncomingContext(ctx, sent)
	answer, err := m.handle(m.service, ctx, func(request any) error { return copyMessage(request, args, proto.Merge) }, c.interceptor)
	if err != nil {
		return wireError(err)
	}
	return copyMessage(reply, answer, moveFields)
}

// copyMessage fills a message that is empty yet.
func copyMessage(dst, src any, copyInto func(dst, src proto.Message)) error {
	to, isTo := dst.(proto.Message)
	from, isFrom := src.(proto.Message)
	if !isTo || !isFrom || to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() {
		return status.Error(codes.Internal, fmt.Sprintf("a %T cannot be taken for a %T", src, dst))
	}
	copyInto(to, from)
	return nil
}

// moveFields sets the fields of dst to those of src, without copying what they
// hold.
func moveFields(dst, src proto.Message) {
	to := dst.ProtoReflect()
	src.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
}

// wireError is an error as it would come out of a connection: a status and
// nothing behind it.
func wireError(err error) error {
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		return carrier.GRPCStatus().Err()
	}
	return status.FromContextError(err).Err()
}
