package gateway

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// maxAnswer bounds an answer that is unpacked. One that was packed is ours.
const maxAnswer = 16 << 20

// packAnswer makes text of an answer, to be kept for repetitions of a request. It is
// compressed, since what goes wrong for many recipients goes wrong in the same way.
func packAnswer(answer proto.Message) (string, error) {
	plain, err := proto.Marshal(answer)
	if err != nil {
		return "", fmt.Errorf("keep an answer: %w", err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(plain) // a buffer takes it all
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("keep an answer: %w", err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

// unpackAnswer is the reverse of packAnswer.
func unpackAnswer(text string, answer proto.Message) error {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("read an answer that was kept: %w", err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("read an answer that was kept: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err != nil {
		return fmt.Errorf("read an answer that was kept: %w", err)
	}
	return proto.Unmarshal(plain, answer)
}
