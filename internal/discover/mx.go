package discover

import (
	"context"
)

// maxMX is how many MX records are looked at.
const maxMX = 20

// mx tells by the domain's MX records who of the table it is hosted by. Whoever forges
// them leads to one of these providers, and nowhere else.
func (s *search) mx(ctx context.Context) []Candidate {
	// Records beside those whose names are none come with an error, too.
	records, _ := s.resolver().LookupMX(ctx, s.domain+".")
	for i, record := range records { // the preferred first
		if i == maxMX {
			break
		}
		host, ok := hostName(trimDot(record.Host))
		if !ok {
			continue
		}
		if p := providerOfMX(host); p != nil {
			return []Candidate{p.hosted()}
		}
	}
	return nil
}
