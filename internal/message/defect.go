package message

import "slices"

// Defect names a way in which a message broke the rules, and was read all the
// same. The codes are part of the API.
type Defect string

// Defects of headers.
const (
	// DefectHeaderGarbage is a line in a header that is no field: an mbox
	// separator, a leading ">From", a field name with blanks. It was skipped.
	DefectHeaderGarbage Defect = "HEADER_GARBAGE"
	// DefectHeaderTruncated is a header longer than the bound; the rest of it
	// was skipped.
	DefectHeaderTruncated Defect = "HEADER_TRUNCATED"
	// DefectHeaderUnterminated is a header that no empty line ends (RFC 5322
	// section 2.1).
	DefectHeaderUnterminated Defect = "HEADER_UNTERMINATED"
	// DefectHeaderRaw8Bit is a header with bytes above 127 that are not UTF-8
	// (RFC 6532); their charset was guessed.
	DefectHeaderRaw8Bit Defect = "HEADER_RAW_8BIT"
	// DefectDuplicateField is a field that may occur once (RFC 5322 section
	// 3.6) and does so more often; the first one counts.
	DefectDuplicateField Defect = "DUPLICATE_FIELD"
	// DefectEncodedWord is an encoded word (RFC 2047) with blanks in it,
	// without its end, glued to other text, or with bytes that its encoding
	// does not have.
	DefectEncodedWord Defect = "ENCODED_WORD_INVALID"
	// DefectParameter is a parameter (RFC 2045 section 5.1, RFC 2231) without
	// quotes where they are due, without its closing quote, or with a missing
	// continuation.
	DefectParameter Defect = "PARAMETER_INVALID"
	// DefectAddress is an address that RFC 5322 section 3.4 does not allow.
	// What could not be understood became a name.
	DefectAddress Defect = "ADDRESS_INVALID"
	// DefectTooManyAddresses is a list of more addresses than are told; those
	// after the bound are only in the header.
	DefectTooManyAddresses Defect = "TOO_MANY_ADDRESSES"
	// DefectDate is a Date field that is missing from its form (RFC 5322
	// section 3.3), and was read by other rules or not at all.
	DefectDate Defect = "DATE_INVALID"
	// DefectMessageID is a message identifier without its angle brackets or
	// with blanks (RFC 5322 section 3.6.4).
	DefectMessageID Defect = "MESSAGE_ID_INVALID"
)

// Defects of content.
const (
	// DefectContentType is a Content-Type that is not type "/" subtype; it
	// was read as text/plain, as RFC 2045 section 5.2 has it.
	DefectContentType Defect = "CONTENT_TYPE_INVALID"
	// DefectTransferEncoding is a Content-Transfer-Encoding that nobody has
	// heard of; the bytes were taken as they are.
	DefectTransferEncoding Defect = "TRANSFER_ENCODING_UNKNOWN"
	// DefectBase64 is base64 with other characters in it or without its
	// padding.
	DefectBase64 Defect = "BASE64_INVALID"
	// DefectQuotedPrintable is quoted-printable with a "=" that begins no
	// escape.
	DefectQuotedPrintable Defect = "QUOTED_PRINTABLE_INVALID"
	// DefectUuencode is uuencode without its first line or its last.
	DefectUuencode Defect = "UUENCODE_INVALID"
	// DefectCharsetUnknown is a charset name that nobody has heard of; the
	// charset was guessed.
	DefectCharsetUnknown Defect = "CHARSET_UNKNOWN"
	// DefectCharsetGuessed is text whose charset is not declared, or is
	// contradicted by its bytes.
	DefectCharsetGuessed Defect = "CHARSET_GUESSED"
	// DefectCharsetInvalid is text with bytes that its charset does not have;
	// U+FFFD stands in their place.
	DefectCharsetInvalid Defect = "CHARSET_INVALID_BYTES"
)

// Defects of structure.
const (
	// DefectBoundaryMissing is a multipart without a boundary parameter, or
	// in which the boundary never occurs (RFC 2046 section 5.1.1).
	DefectBoundaryMissing Defect = "BOUNDARY_MISSING"
	// DefectMultipartUnterminated is a multipart without its closing
	// delimiter.
	DefectMultipartUnterminated Defect = "MULTIPART_UNTERMINATED"
	// DefectMultipartEncoded is a multipart or message with a transfer
	// encoding that RFC 2045 section 6.4 forbids there; it was not opened.
	DefectMultipartEncoded Defect = "MULTIPART_ENCODED"
	// DefectTooDeep is nesting beyond the bound; what is deeper is shown as
	// one part.
	DefectTooDeep Defect = "TOO_DEEP"
	// DefectTooManyParts is more parts than the bound; those after it are not
	// shown.
	DefectTooManyParts Defect = "TOO_MANY_PARTS"
	// DefectStructureMissing is a BODYSTRUCTURE that was NIL, empty or cut.
	DefectStructureMissing Defect = "STRUCTURE_MISSING"
	// DefectUnreadable is a message at which the server closes the connection; it
	// was asked for less.
	DefectUnreadable Defect = "UNREADABLE"
)

// defects is a set that keeps the order in which its members were found.
type defects []Defect

func (d *defects) add(found ...Defect) {
	for _, f := range found {
		if !slices.Contains(*d, f) {
			*d = append(*d, f)
		}
	}
}
