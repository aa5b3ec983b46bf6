package message

import "strings"

// unflow joins the lines of format=flowed text into paragraphs (RFC 3676
// section 4). Quote marks stay, with a blank behind them.
func unflow(s string, delSp bool) string {
	var b strings.Builder
	b.Grow(len(s))
	depth, open := 0, false // the paragraph that the next line may go on
	for len(s) > 0 {
		line, rest, ended := strings.Cut(s, "\n")
		s = rest
		marks := 0
		for marks < len(line) && line[marks] == '>' {
			marks++
		}
		line = strings.TrimPrefix(line[marks:], " ") // Section 4.4: space-stuffing.
		// Section 4.3: the line before a signature is fixed, and so is it.
		signature := line == "-- "
		if open && (marks != depth || signature) {
			b.WriteByte('\n')
			open = false
		}
		if !open && marks > 0 {
			b.WriteString(strings.Repeat(">", marks))
			if line != "" {
				b.WriteByte(' ')
			}
		}
		depth = marks
		open = strings.HasSuffix(line, " ") && !signature && ended
		if open && delSp {
			line = line[:len(line)-1]
		}
		b.WriteString(line)
		if !open && ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
