package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// settle is how long the log is followed after it tells all there is: what it
// tells then is too much.
const settle = 3 * time.Second

// verdict waits until the log tells what go-imap's client finds on the server,
// and fails the test if it does not, or if it tells anything twice or of what
// never was. The process is then started once more, to see that it has nothing
// to add.
func (p *proof) verdict() {
	p.t.Helper()
	_, told := p.awaitAgreement()
	p.restart()
	p.awaitConnected()
	<-time.After(settle)
	again, toldAgain := p.awaitAgreement()
	if toldAgain != told {
		p.t.Errorf("after another start the log has %d events of messages and folders, before it had %d", toldAgain, told)
	}
	for _, m := range p.mailboxes {
		m.close()
	}
	p.fail("contradiction", again.faults)
	var inventions []string
	for _, m := range p.mailboxes {
		inventions = append(inventions, again.account(m.id).inventions(m)...)
	}
	p.fail("invention", inventions)
	var counts []string
	for kind, n := range again.counts {
		counts = append(counts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(counts)
	p.t.Logf("%d accounts; events: %s", len(p.mailboxes), strings.Join(counts, ", "))
	if !p.t.Failed() {
		p.t.Log("the log and the server agree: 0 lost, 0 twice, 0 invented")
	}
}

// awaitAgreement waits until the log tells what is on the server. It returns the
// replayed log, and how many events of messages and folders there are in it.
func (p *proof) awaitAgreement() (o *oracle, told int) {
	p.t.Helper()
	reader := p.readLog()
	defer reader.conn.Close()
	there := make([]listing, len(p.mailboxes))
	for i, m := range p.mailboxes {
		var err error
		if there[i], err = m.list(); err != nil {
			p.t.Fatalf("list %s: %v", m.id, err)
		}
		m.close()
	}
	o = newOracle()
	var differences []string
	end := time.Now().Add(patience)
	for {
		facts, err := reader.next()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range facts {
			o.take(f)
		}
		if differences = p.differences(o, there); len(differences) == 0 {
			break
		}
		if time.Now().After(end) {
			p.fail("difference", differences)
			p.fail("contradiction", o.faults)
			p.t.FailNow()
		}
		<-time.After(200 * time.Millisecond)
	}
	for kind, n := range o.counts {
		if !strings.HasPrefix(kind, "account.") {
			told += n
		}
	}
	return o, told
}

// differences compares the replayed log with the mailboxes.
func (p *proof) differences(o *oracle, there []listing) []string {
	var all []string
	for i, m := range p.mailboxes {
		keys := map[string]string{}
		var list struct {
			Folders []struct {
				Name string
				Path []string
			}
		}
		if err := p.get("/v1/accounts/"+m.id+"/folders?pageSize=500", &list); err != nil {
			return []string{err.Error()}
		}
		for _, f := range list.Folders {
			keys[strings.Join(f.Path, "/")] = f.Name[strings.LastIndexByte(f.Name, '/')+1:]
		}
		all = append(all, o.account(m.id).differences(m, keys, there[i])...)
	}
	return all
}

// fail fails the test for each of a list of faults, and shows the first.
func (p *proof) fail(what string, list []string) {
	p.t.Helper()
	if len(list) > 0 {
		p.t.Errorf("%d × %s, such as\n\t%s", len(list), what, strings.Join(list[:min(len(list), 15)], "\n\t"))
	}
}
