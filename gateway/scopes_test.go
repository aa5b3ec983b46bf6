package gateway

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A method that nobody thought about must not be one that everybody may call, nor
// one that nobody can.
func TestEveryMethodHasANeed(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage("postern.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				there["/"+string(service.FullName())+"/"+string(service.Methods().Get(j).Name())] = true
			}
		}
		return true
	})
	for method := range there {
		n, ok := needs[method]
		if !ok || n.anybody == (len(n.all)+len(n.any) > 0) {
			t.Errorf("no scope is said to be needed for %s", method)
		}
	}
	for method, n := range needs {
		if !there[method] {
			t.Errorf("there is no method %s", method)
		}
		for _, scope := range append(n.all, n.any...) {
			if !scope.Valid() {
				t.Errorf("%s needs %q, which is no scope", method, scope)
			}
		}
	}
}
