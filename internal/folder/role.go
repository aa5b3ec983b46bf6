package folder

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Role is what a folder is for (RFC 6154). The zero Role is nothing in
// particular.
type Role string

// Roles, as the API spells them.
const (
	RoleInbox   Role = "INBOX"
	RoleSent    Role = "SENT"
	RoleDrafts  Role = "DRAFTS"
	RoleTrash   Role = "TRASH"
	RoleJunk    Role = "JUNK"
	RoleArchive Role = "ARCHIVE"
	RoleAll     Role = "ALL"
	RoleFlagged Role = "FLAGGED"
	// RoleNone is said of a folder that is for nothing in particular, whatever
	// its name or the server may say.
	RoleNone Role = "NONE"
)

// RoleSource says how a role is known.
type RoleSource string

// Sources of roles, as the API spells them.
const (
	// SourceSpecialUse: the server says so, or the protocol does, as for INBOX.
	SourceSpecialUse RoleSource = "SPECIAL_USE"
	// SourceHeuristic: the name says so, in one of many languages.
	SourceHeuristic RoleSource = "HEURISTIC"
	// SourceOverride: somebody said so, see [Registry.SetRole].
	SourceOverride RoleSource = "OVERRIDE"
)

// RoleCandidate is a folder that may have a role.
type RoleCandidate struct {
	Folder Folder
	// Attrs are what the server lists of the folder, with the names of
	// SPECIAL-USE (also where the server speaks XLIST).
	Attrs []imap.MailboxAttr
}

// AssignedRole is a folder's role and how it is known; zero when it has none.
type AssignedRole struct {
	Role   Role
	Source RoleSource
}

// Attr is the attribute by which a server tells of a role (RFC 6154 section 2),
// empty for roles that are told otherwise.
func (r Role) Attr() imap.MailboxAttr {
	for attr, role := range roleOfAttr {
		if role == r {
			return attr
		}
	}
	return ""
}

var roleOfAttr = map[imap.MailboxAttr]Role{
	imap.MailboxAttrSent:    RoleSent,
	imap.MailboxAttrDrafts:  RoleDrafts,
	imap.MailboxAttrTrash:   RoleTrash,
	imap.MailboxAttrJunk:    RoleJunk,
	imap.MailboxAttrArchive: RoleArchive,
	imap.MailboxAttrAll:     RoleAll,
	imap.MailboxAttrFlagged: RoleFlagged,
}

// InferRoles tells the roles of an account's folders, in the order of the
// candidates. A role goes to one folder at most and a folder has one role at
// most: first what somebody said, then what the server says, then, for roles of
// which neither says anything, what names say. Which folder gets a role depends on the folders, not on the
// order in which they are listed.
func InferRoles(candidates []RoleCandidate) []AssignedRole {
	roles := make([]AssignedRole, len(candidates))
	var claims []claim
	for i, c := range candidates {
		if slices.ContainsFunc(c.Attrs, cannotHoldMail) {
			continue
		}
		if c.Folder.Role == RoleNone {
			roles[i] = AssignedRole{RoleNone, SourceOverride}
			continue
		}
		claims = append(claims, claimsOf(i, c)...)
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.depth, b.depth),
			cmp.Compare(candidates[a.candidate].Folder.Name, candidates[b.candidate].Folder.Name))
	})
	given := make(map[Role]bool)
	for _, claim := range claims {
		if !given[claim.Role] && roles[claim.candidate] == (AssignedRole{}) {
			given[claim.Role] = true
			roles[claim.candidate] = claim.AssignedRole
		}
	}
	return roles
}

// cannotHoldMail: RFC 9051 section 7.3.1.
func cannotHoldMail(attr imap.MailboxAttr) bool {
	return strings.EqualFold(string(attr), string(imap.MailboxAttrNoSelect)) ||
		strings.EqualFold(string(attr), string(imap.MailboxAttrNonExistent))
}

// claim is a reason for a candidate to have a role. The lowest rank goes first.
type claim struct {
	AssignedRole
	candidate int
	rank      int
	depth     int
}

func claimsOf(i int, c RoleCandidate) []claim {
	path := c.Folder.Path()
	claimed := func(rank int, role Role, source RoleSource) claim {
		return claim{AssignedRole: AssignedRole{role, source}, candidate: i, rank: rank, depth: len(path)}
	}
	// RFC 9051 section 5.1: INBOX is this user's, in whatever case.
	if c.Folder.IsInbox() {
		return []claim{claimed(0, RoleInbox, SourceSpecialUse)}
	}
	if c.Folder.Role != "" {
		return []claim{claimed(0, c.Folder.Role, SourceOverride)}
	}
	var claims []claim
	for _, attr := range c.Attrs {
		for special, role := range roleOfAttr {
			if strings.EqualFold(string(attr), string(special)) {
				claims = append(claims, claimed(1, role, SourceSpecialUse))
			}
		}
	}
	if !nearRoot(path) {
		return claims
	}
	if named, ok := rolesByName()[foldName(path[len(path)-1])]; ok {
		claims = append(claims, claimed(2+named.order, named.role, SourceHeuristic))
	}
	return claims
}

// nearRoot reports whether a name at this place may be that of a folder with a
// role: at the top, or right below INBOX, where servers with a personal
// namespace keep all folders, or below a root in brackets such as "[Gmail]".
// "Projects/Archive" is one of the user's own.
func nearRoot(path []string) bool {
	if len(path) == 1 {
		return true
	}
	root := path[0]
	return len(path) == 2 && (strings.EqualFold(root, "INBOX") ||
		strings.HasPrefix(root, "[") && strings.HasSuffix(root, "]"))
}

// foldName brings a name into the form in which names are compared: without
// case, accents, compatibility forms, punctuation and ornaments around words,
// since all of these differ between clients, servers and keyboards.
func foldName(name string) string {
	folded := cases.Fold().String(norm.NFKD.String(name))
	words := strings.FieldsFunc(norm.NFKD.String(folded), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r)
	})
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, strings.Join(words, " "))
}
