package imapwire

// Mailbox reads the name of a mailbox. raw is the name as the server wrote it,
// to be given back to it with Encoder.RawMailbox; name is for people.
func (d *Decoder) Mailbox() (name, raw string, err error) {
	if raw, err = d.AString(); err != nil {
		return "", "", err
	}
	name, _ = d.mailboxName(raw)
	return name, raw, nil
}

// mailboxName decodes the name of a mailbox. exact reports whether Encoder's
// Mailbox would write it as it came.
func (d *Decoder) mailboxName(raw string) (name string, exact bool) {
	switch {
	case isINBOX(raw):
		return "INBOX", true
	case d.UTF8:
		name = validText(raw)
		return name, name == raw
	}
	return DecodeUTF7(raw)
}
