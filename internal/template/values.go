package template

import (
	"math"
	"strconv"
)

// Values makes what a JSON object holds ready to be filled in: maps, lists, text,
// booleans and numbers. Whole numbers are written as such, and null is empty text.
func Values(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		out[key] = valueOf(value)
	}
	return out
}

func valueOf(value any) any {
	switch v := value.(type) {
	case nil:
		return ""
	case map[string]any:
		return Values(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = valueOf(v[i])
		}
		return out
	case float64:
		const exact = 1 << 53
		if v == math.Trunc(v) && math.Abs(v) <= exact {
			return int64(v)
		}
		return number(v)
	}
	return value
}

// number is one with a fraction, which prints without an exponent.
type number float64

func (n number) String() string { return strconv.FormatFloat(float64(n), 'f', -1, 64) }
