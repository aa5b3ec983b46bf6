package eximtest

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// owner is whom Exim runs as.
type owner struct {
	user, group string
	// credential is set where that is not the present user.
	credential *syscall.Credential
}

// findOwner gives the present user, and nobody in place of root: Exim delivers
// nothing as root.
func findOwner() (*owner, error) {
	var who *user.User
	var err error
	if os.Geteuid() == 0 {
		who, err = user.Lookup("nobody")
	} else {
		who, err = user.Current()
	}
	if err != nil {
		return nil, err
	}
	group, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return nil, err
	}
	o := &owner{user: who.Username, group: group.Name}
	if os.Geteuid() != 0 {
		return o, nil
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	o.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return o, nil
}

// furnish puts a certificate and the directories into a new server's directory, and
// gives that to whom Exim runs as. It returns the certificate
// and the pool that trusts it.
func (o *owner) furnish(dir string) (der []byte, roots *x509.CertPool, err error) {
	certificate, roots, err := selfsigned.New()
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, nil, err
		}
		if err := o.give(filepath.Join(dir, name)); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range []string{"spool", "log", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, nil, err
		}
		if err := o.give(filepath.Join(dir, name)); err != nil {
			return nil, nil, err
		}
	}
	return certificate.Certificate[0], roots, o.give(dir)
}

func (o *owner) give(path string) error {
	if o.credential == nil {
		return nil
	}
	return os.Chown(path, int(o.credential.Uid), int(o.credential.Gid))
}
