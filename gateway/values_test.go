package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func TestValueCounter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		json string
		want error
	}{
		"empty objects":   {`{"to":[` + strings.Repeat(`{},`, maxValues) + `{}]}`, errTooManyValues},
		"numbers":         {`[` + strings.Repeat(`1,`, maxValues+1) + `1]`, errTooManyValues},
		"lists":           {strings.Repeat(`[`, maxDepth+1), errTooDeep},
		"objects":         {strings.Repeat(`{"a":`, maxDepth+1), errTooDeep},
		"deep enough":     {strings.Repeat(`[`, maxDepth) + strings.Repeat(`]`, maxDepth), nil},
		"side by side":    {`[` + strings.Repeat(`[[]],`, maxDepth) + `{}]`, nil},
		"commas in text":  {`{"text":"` + strings.Repeat(`,{[`, maxValues) + `"}`, nil},
		"after a quote":   {`{"text":"\"` + strings.Repeat(`,`, maxValues+1) + `"}`, nil},
		"after a reverse": {`{"a\\":[` + strings.Repeat(`1,`, maxValues+1) + `1]}`, errTooManyValues},
		"few":             {`{"to":[{},{}]}`, nil},
	} {
		// In pieces, so that texts and escapes are cut.
		pieces := &valueCounter{Reader: &oneByOne{strings.NewReader(c.json)}}
		for _, r := range []io.Reader{&valueCounter{Reader: strings.NewReader(c.json)}, pieces} {
			_, err := io.ReadAll(r)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	}
}

// oneByOne gives a byte at a time.
type oneByOne struct{ io.Reader }

func (r *oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// The counter takes nothing for a value that is none, nor the other way round.
func FuzzValueCounter(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"x,\"[{"}],"\\":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		c := &valueCounter{Reader: strings.NewReader(string(text))}
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, errTooDeep) {
			t.Fatal(err)
		} else if err != nil {
			return
		}
		tokens, want := json.NewDecoder(strings.NewReader(string(text))), 0
		for { // each value but the outermost follows a comma or opens its container
			token, err := tokens.Token()
			if err != nil {
				break
			}
			if _, ends := token.(json.Delim); !ends || token == json.Delim('{') || token == json.Delim('[') {
				want++
			}
		}
		if c.values > 2*want || want > 2*c.values+1 {
			t.Errorf("%q has %d tokens, counted %d values", text, want, c.values)
		}
	})
}

func TestBoundedCodec(t *testing.T) {
	t.Parallel()
	many := &posternv1.CreateSubmissionRequest{Submission: &posternv1.Submission{To: make([]*posternv1.Address, maxValues+1)}}
	for i := range many.Submission.To {
		many.Submission.To[i] = &posternv1.Address{}
	}
	variables := make(map[string]*structpb.Value)
	for i := range 200 {
		variables[strings.Repeat("v", i+1)] = structpb.NewStringValue("x")
	}
	merge := &posternv1.MergeSubmissionsRequest{}
	for range 500 {
		merge.Recipients = append(merge.Recipients, &posternv1.MergeSubmissionsRequest_Recipient{
			To: &posternv1.Address{Address: "bob@example.com"}, Variables: &structpb.Struct{Fields: variables},
		})
	}
	long := &posternv1.CreateSubmissionRequest{Submission: &posternv1.Submission{Text: strings.Repeat("\x0a\x00", maxValues+1)}}
	for name, c := range map[string]struct {
		message proto.Message
		many    bool
	}{"empty addresses": {many, true}, "a large merge": {merge, false}, "a long text": {long, false}} {
		bytes, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		got := c.message.ProtoReflect().New().Interface()
		half := len(bytes) / 2
		err = newBoundedCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes[:half]), mem.SliceBuffer(bytes[half:])}, got)
		if c.many != errors.Is(err, errTooManyValues) || !c.many && !proto.Equal(got, c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
