// Package token keeps API tokens and tells who shows one.
//
// A token is shown once, to whoever makes it. What is stored is its hash, sealed
// together with what it may do, so that whoever can write to the store cannot make
// a token, nor move one's rights to another.
//
// Calls are answered from memory, which a watch on the bucket keeps up to date. A
// token that is revoked on one node is of no use on any other a moment later. Twice
// a second each node asks how far the bucket has come, so that a watch which has
// fallen silent is noticed, and one which cannot be trusted any more: see [Store].
package token
