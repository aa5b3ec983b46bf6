package gateway

import (
	"errors"
	"io"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxValues bounds how many values a request may have. An empty object takes two
// or three bytes on the wire and a hundred or two in memory, and a request is read
// before the rules of its proto file can be asked. It leaves a merge two hundred
// variables for each of five hundred recipients.
const maxValues = 250_000

// maxDepth bounds how deep the values of JSON are within each other. The decoder
// remembers each level, and no request needs a tenth of them.
const maxDepth = 100

var (
	errTooManyValues = errors.New("it has more values than any request that is valid")
	errTooDeep       = errors.New("its values are nested deeper than those of any request that is valid")
)

// valueCounter is the JSON of a request, until it has too many values, or too deep
// ones. What is no JSON the decoder behind it refuses.
type valueCounter struct {
	io.Reader
	values, depth    int
	inString, escape bool
}

// Read implements [io.Reader].
func (c *valueCounter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	for _, b := range p[:n] {
		switch {
		case c.escape:
			c.escape = false
		case c.inString && b == '\\':
			c.escape = true
		case b == '"':
			c.inString = !c.inString
		case c.inString:
		case b == ',':
			c.values++
		case b == '{' || b == '[':
			c.values++
			if c.depth++; c.depth > maxDepth {
				return 0, errTooDeep
			}
		case b == '}' || b == ']':
			c.depth--
		}
	}
	if c.values > maxValues {
		return 0, errTooManyValues
	}
	return n, err
}

// fewBytes are too few for too many values.
const fewBytes = 2 * maxValues

// boundedCodec reads the requests of gRPC, unless they have too many values.
type boundedCodec struct{ encoding.CodecV2 }

func newBoundedCodec() boundedCodec { return boundedCodec{encoding.GetCodecV2(grpcproto.Name)} }

// Unmarshal implements [encoding.CodecV2].
func (c boundedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok || data.Len() <= fewBytes {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	if left := countValues(buffer.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxValues); left < 0 {
		return errTooManyValues
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}

// countValues counts the messages within a message down from left, and gives what
// is left, which is negative when there are too many. What cannot be read is not
// counted: the decoder gets no further.
func countValues(b []byte, message protoreflect.MessageDescriptor, left int) int {
	for len(b) > 0 && left >= 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return left
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return left
		}
		value := b[n : n+size]
		b = b[n+size:]
		field := message.Fields().ByNumber(number)
		if field == nil || field.Message() == nil || kind != protowire.BytesType {
			continue
		}
		content, _ := protowire.ConsumeBytes(value)
		left = countValues(content, field.Message(), left-1)
	}
	return left
}
