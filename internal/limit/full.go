package limit

import "fmt"

// FullError says that there are as many of something as there may be.
type FullError struct {
	// Setting is what allows more, such as max-accounts, and What is counted.
	Setting, What string
	// Instead says what makes room, as in "delete some", which it is where it is empty.
	Instead string
	Most    int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("there are %d %s, as many as %s allows", e.Most, e.What, e.Setting)
}

// Room fails with a [*FullError] when there are most or more of something already.
// A bound that is not positive is none.
func Room(setting, what string, there, most int) error {
	if most <= 0 || there < most {
		return nil
	}
	return &FullError{Setting: setting, What: what, Most: most}
}
