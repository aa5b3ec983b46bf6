// Package limit counts who asks for how much: token buckets for rates, and places
// for what is open at a time, each by a key such as a token's id. Nothing in it
// grows beyond its bound, whatever keys strangers make up. It decides, and knows
// nothing of requests.
package limit
