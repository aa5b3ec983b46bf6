package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/postern-mail/postern/internal/secret"
)

func openFile(t *testing.T, path string) *secret.Box {
	t.Helper()
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func seal(t *testing.T, box *secret.Box, plain, place string) []byte {
	t.Helper()
	sealed, err := box.Seal([]byte(plain), []byte(place))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box := openFile(t, filepath.Join(dir, "a.key"))
	other := openFile(t, filepath.Join(dir, "b.key"))
	sealed := seal(t, box, canary, "account/ann/password")
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1

	cases := map[string]struct {
		box    *secret.Box
		sealed []byte
		place  string
		err    error
	}{
		"as sealed":       {box, sealed, "account/ann/password", nil},
		"other record":    {box, sealed, "account/bob/password", secret.ErrOpen},
		"other field":     {box, sealed, "account/ann/refresh", secret.ErrOpen},
		"no place":        {box, sealed, "", secret.ErrOpen},
		"other key":       {other, sealed, "account/ann/password", secret.ErrOpen},
		"one bit changed": {box, changed, "account/ann/password", secret.ErrOpen},
		"cut short":       {box, sealed[:8], "account/ann/password", secret.ErrOpen},
		"empty":           {box, nil, "account/ann/password", secret.ErrOpen},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := c.box.Open(c.sealed, []byte(c.place))
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.err == nil && string(plain) != canary {
				t.Errorf("opened %q", plain)
			}
		})
	}
	if bytes.Contains(sealed, []byte(canary)) {
		t.Error("the sealed value shows the secret")
	}
	if bytes.Equal(sealed, seal(t, box, canary, "account/ann/password")) {
		t.Error("sealing twice gives the same bytes, so equal secrets can be told")
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "secret.key")
	first := openFile(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		t.Errorf("mode is %04o, want 0600", perm)
	}
	sealed := seal(t, first, "x", "p")
	again := openFile(t, path)
	if _, err := again.Open(sealed, []byte("p")); err != nil {
		t.Errorf("after opening the file again: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("directory holds %v (error %v), want the key file alone", left, err)
	}

	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env, err := secret.InEnv(secret.New(base64.StdEncoding.EncodeToString(content) + "\n")).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Open(sealed, []byte("p")); err != nil {
		t.Errorf("with the same key set from the environment: %v", err)
	}
	for _, box := range []any{first, *first, env} {
		for _, form := range keyMaterial(t, content) {
			if got := fmt.Sprintf("%+v %#v", box, box); strings.Contains(got, form) {
				t.Errorf("printing a Box shows its key: %s", got)
			}
		}
	}
}

// keyMaterial gives forms of the key bytes that must not show up anywhere.
func keyMaterial(t *testing.T, content []byte) []string {
	t.Helper()
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	value := insecurecleartextkeyset.KeysetMaterial(handle).GetKey()[0].GetKeyData().GetValue()
	raw := value[len(value)-32:]
	return []string{string(raw), fmt.Sprintf("%x", raw), fmt.Sprint(raw)[1:40], base64.StdEncoding.EncodeToString(value)}
}

func TestKeyFileRefused(t *testing.T) {
	t.Parallel()
	const damaged = `{"primaryKeyId": 1, "key": [{"keyData": {"value": "canaryCanary"`
	cases := map[string]struct {
		prepare func(t *testing.T, path string)
		want    []string
	}{
		"readable by the group": {func(t *testing.T, path string) {
			openFile(t, path)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
		}, []string{"0640", "chmod 600"}},
		"readable by others": {func(t *testing.T, path string) {
			openFile(t, path)
			if err := os.Chmod(path, 0o604); err != nil {
				t.Fatal(err)
			}
		}, []string{"0604", "chmod 600"}},
		"damaged": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"damaged", "restore"}},
		"empty": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"damaged"}},
		"a directory": {func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a regular file"}},
		"too large": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"too many"}},
		"below a file": {func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a directory"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "dir", "secret.key")
			if name != "below a file" {
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			c.prepare(t, path)
			before, _ := os.ReadFile(path)
			_, err := secret.OpenFile(path)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "canaryCanary") {
				t.Errorf("error quotes the key: %v", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenEnvRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"not base64":   "canary!",
		"not a keyset": base64.StdEncoding.EncodeToString([]byte("canary")),
		"empty":        "",
	}
	for name, value := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := secret.InEnv(secret.New(value)).Open(t.Context())
			if err == nil || !strings.Contains(err.Error(), "POSTERN_KEY") {
				t.Errorf("error %v, want one that names POSTERN_KEY", err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("error quotes the value: %v", err)
			}
		})
	}
}

func TestCreateOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	boxes := make([]*secret.Box, 16)
	var wait sync.WaitGroup
	for i := range boxes {
		wait.Go(func() {
			box, err := secret.OpenFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			boxes[i] = box
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	for i, box := range boxes {
		sealed := seal(t, box, "x", "p")
		if _, err := boxes[(i+1)%len(boxes)].Open(sealed, []byte("p")); err != nil {
			t.Fatalf("two starts at once use different keys: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	before := openFile(t, path)
	old := seal(t, before, "old", "p")

	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.SetPrimary(id); err != nil {
		t.Fatal(err)
	}
	rotated, err := manager.Handle()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(rotated, keyset.NewJSONWriter(&out)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}

	after := openFile(t, path)
	if plain, err := after.Open(old, []byte("p")); err != nil || string(plain) != "old" {
		t.Errorf("value of the old key opens to %q, %v", plain, err)
	}
	if _, err := before.Open(seal(t, after, "new", "p"), []byte("p")); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("a new value opens with the old key set (error %v), so it was not sealed with the new key", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	right, wrongPath := openFile(t, filepath.Join(dir, "right.key")), filepath.Join(dir, "wrong.key")
	check, err := right.NewCheck(right.Uses())
	if err != nil {
		t.Fatal(err)
	}
	if err := right.Check(check); err != nil {
		t.Errorf("right key: %v", err)
	}
	err = openFile(t, wrongPath).Check(check)
	if _, ok := errors.AsType[*secret.WrongKeyError](err); !ok {
		t.Fatalf("wrong key: error %v, want a WrongKeyError", err)
	}
	if !strings.Contains(err.Error(), wrongPath) || !strings.Contains(err.Error(), "restore") {
		t.Errorf("error %q does not name the file and what to do", err)
	}
}
