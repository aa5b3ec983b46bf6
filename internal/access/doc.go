// Package access says who calls and what they may do: scopes, the accounts that
// a grant holds for, and whoever has shown who they are. It decides and knows
// neither how somebody shows who they are nor which call needs what.
package access
