package submit

import (
	"bytes"
	"encoding/json"
)

// maxInline is how large a message may be that is kept within the record of its
// submission: it is stored with that in one step, and written again at each of the
// few steps there are. A larger one is a body apart.
const maxInline = 32 << 10

// encode writes the record of a submission: JSON, and in the line behind it the
// message, unless that is apart or no longer needed.
func (s *Submission) encode() ([]byte, error) {
	value, err := json.Marshal(s)
	if err != nil || s.message == nil || s.messageDone() {
		return value, err
	}
	return append(append(value, '\n'), s.message...), nil
}

// decode is the reverse of encode.
func (s *Submission) decode(value []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	if err := decoder.Decode(s); err != nil {
		return err
	}
	if rest := value[decoder.InputOffset():]; len(rest) > 0 {
		s.message = rest[1:]
	}
	return nil
}

// messageDone reports whether the message is needed no more: nothing is left to be
// done with it, and it cannot be sent again.
func (s *Submission) messageDone() bool {
	return s.Saved && (s.State == Sent || s.State == Canceled)
}

// bodyRef names the body of a message that is not within the record.
func (s *Submission) bodyRef() bodyRef {
	id := s.ID
	if s.BodyID != "" {
		id += bodySeparator + s.BodyID
	}
	return messageRef(s.Account, id)
}
