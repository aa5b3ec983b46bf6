package submit

import "fmt"

// MergedID gives the id of the n-th of the submissions that were planned together
// under an id of [NewID]. It is the same at each attempt to create them, and their
// order is that of n.
func MergedID(plan string, n int) string { return fmt.Sprintf("%s-%03d", plan, n) }
