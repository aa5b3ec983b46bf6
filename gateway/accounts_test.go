package gateway_test

import (
	"net/http"
	"testing"
)

func TestSmoke(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name := h.demo(t)
	t.Log(h.get(t, "/v1/"+name))
	f := h.get(t, "/v1/"+name+"/folders")
	for _, x := range list(f, "folders") {
		t.Log(x)
	}
	m := h.do(t, http.MethodGet, "/v1/"+name+"/messages?pageSize=3", nil)
	t.Log(string(m.body))
	for _, x := range list(m.json(t), "messages") {
		t.Log(string(h.do(t, http.MethodGet, "/v1/"+x["name"].(string), nil).body))
	}
}
