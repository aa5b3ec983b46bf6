// Command protodeps prints the proto files that ours import into a folder, for
// buf to compile against.
//
// Every imported file is already part of a Go module that go.mod pins, as the
// descriptor that its generated code carries. Printing those descriptors gives
// the very version that the binary is linked with, needs no registry but Go's,
// and leaves nothing of other projects in this repository.
//
// Usage:
//
//	go run ./internal/protodeps DIR
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	openapiv3pb "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3/options"
	"github.com/jhump/protoreflect/v2/protoprint"
	annotationspb "google.golang.org/genproto/googleapis/api/annotations"
	httpbodypb "google.golang.org/genproto/googleapis/api/httpbody"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// roots are the files that the contract imports by name; what they import in
// turn is found from them.
var roots = []protoreflect.FileDescriptor{
	annotationspb.File_google_api_annotations_proto,
	annotationspb.File_google_api_client_proto,
	annotationspb.File_google_api_field_behavior_proto,
	annotationspb.File_google_api_resource_proto,
	httpbodypb.File_google_api_httpbody_proto,
	statuspb.File_google_rpc_status_proto,
	openapiv3pb.File_protoc_gen_openapiv3_options_annotations_proto,
	validatepb.File_buf_validate_validate_proto,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: protodeps DIR")
	}
	// What a former version imported must not stay compilable.
	if err := os.RemoveAll(args[0]); err != nil {
		return err
	}
	printer := protoprint.Printer{OmitComments: protoprint.CommentsAll}
	if err := printer.PrintProtosToFileSystem(closure(roots), args[0]); err != nil {
		return fmt.Errorf("print into %q: %w", args[0], err)
	}
	return nil
}

// closure gives files and all that they import, each once, without the
// well-known types, which buf brings itself.
func closure(files []protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	var all []protoreflect.FileDescriptor
	seen := make(map[string]bool)
	var visit func(protoreflect.FileDescriptor)
	visit = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] || strings.HasPrefix(file.Path(), "google/protobuf/") {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			visit(file.Imports().Get(i).FileDescriptor)
		}
		all = append(all, file)
	}
	for _, file := range files {
		visit(file)
	}
	return all
}
