// Package folder owns the identity of folders and messages, and what is
// remembered about them between two looks at the server.
//
// A [Key] names a folder for as long as it lives, renames included; a
// [MessageID] says where a message is. The [Registry] gives out keys and the
// [Checkpoints] hold an owner's snapshots; both live in the same key-value
// bucket and are a cache: the server is the truth about mail, the event log is
// the truth about what was announced. [InferRoles] guesses what a folder is
// for.
package folder
