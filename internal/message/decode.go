package message

import "io"

// PartReader reads the content of a part, its transfer encoding taken off, in
// constant memory. It fails only when the reader beneath it does.
type PartReader struct {
	src   io.Reader
	found func() []Defect
}

// DecodePart reads r, the body of a part, as the transfer encoding says (RFC
// 2045 section 6): base64, quoted-printable, uuencode. Everything else, known
// or not, is taken as it is. What breaks the rules of an encoding is skipped
// or kept, whichever loses less, and shows in Defects.
func DecodePart(r io.Reader, encoding string) *PartReader {
	none := func() []Defect { return nil }
	switch encodingName(encoding) {
	case "base64":
		d := newBase64Reader(r)
		return &PartReader{d, func() []Defect { return d.found }}
	case "quoted-printable":
		d := newQuotedPrintableReader(r)
		return &PartReader{d, func() []Defect { return d.found }}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		d := newUuencodeReader(r)
		return &PartReader{d, func() []Defect { return d.found }}
	case "7bit", "8bit", "binary", "7-bit", "8-bit", "none":
		return &PartReader{r, none}
	}
	return &PartReader{r, func() []Defect { return []Defect{DefectTransferEncoding} }}
}

// Read implements [io.Reader].
func (r *PartReader) Read(p []byte) (int, error) { return r.src.Read(p) }

// Defects are those of the encoding, as far as has been read.
func (r *PartReader) Defects() []Defect { return r.found() }
