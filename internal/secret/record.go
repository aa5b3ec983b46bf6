package secret

import "reflect"

// Sealed is a secret as a stored record holds it; JSON writes it in base64.
type Sealed []byte

// Sealer seals or opens the secrets of one record and keeps the first error, so
// that a record is one expression. The place of each secret names the record and
// the field: a sealed value that is moved elsewhere does not open.
type Sealer struct {
	// Box has the keys.
	Box *Box
	// Record names the record, such as "account/ann".
	Record string
	// Err is the first error.
	Err error
}

func (s *Sealer) place(field string) []byte { return []byte(s.Record + "/" + field) }

// Seal seals the value of a field. An empty one has no sealed form.
func (s *Sealer) Seal(field string, value String) Sealed {
	if s.Err != nil || value.IsZero() {
		return nil
	}
	out, err := s.Box.Seal([]byte(value.Reveal()), s.place(field))
	s.Err = err
	return out
}

// Open opens what Seal made for the same field of the same record.
func (s *Sealer) Open(field string, value Sealed) String {
	if s.Err != nil || len(value) == 0 {
		return String{}
	}
	plain, err := s.Box.Open(value, s.place(field))
	s.Err = err
	return New(string(plain))
}

// KeysOf gives the ids of the keys that sealed what a record holds: every [Sealed] in
// its fields, however deep. A value that no Box has sealed counts as key 0.
func KeysOf(record any) []KeyID {
	found := make(map[KeyID]bool)
	collect(reflect.ValueOf(record), found)
	ids := make([]KeyID, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	return ids
}

var sealedType = reflect.TypeFor[Sealed]()

func collect(v reflect.Value, found map[KeyID]bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		collect(v.Elem(), found)
	case reflect.Struct:
		for _, field := range v.Fields() {
			collect(field, found)
		}
	case reflect.Map:
		for _, value := range v.Seq2() {
			collect(value, found)
		}
	case reflect.Slice:
		if v.Type() == sealedType {
			if v.Len() > 0 {
				id, _ := SealedBy(v.Bytes())
				found[id] = true
			}
			return
		}
		for i := range v.Len() {
			collect(v.Index(i), found)
		}
	}
}
