package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
)

// tokensTimeout bounds a command of tokens.
const tokensTimeout = 30 * time.Second

// tokensCommand holds what concerns API tokens. It calls the API of a running
// process, as its administrator.
func tokensCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "tokens",
		Usage: "make, list and revoke API tokens",
		Commands: []*cli.Command{
			createTokenCommand(stdout, stderr), listTokensCommand(stdout), revokeTokensCommand(stdout),
		},
	}
}

// adminClient is how a command of the administrator's reaches the API: flags say
// where it is, as for serve.
type adminClient struct {
	cfg    config
	url    string
	format string
}

// flags are those of the settings that the client needs.
func (a *adminClient) flags(more ...cli.Flag) []cli.Flag {
	flags := append(more,
		&cli.StringFlag{Name: "format", Value: "text", Destination: &a.format, Usage: "print in this `FORMAT`: text or json"},
		&cli.StringFlag{Name: "url", Destination: &a.url, Usage: "call the API at this `URL` instead of the HTTP listener of the settings"})
	for _, flag := range a.cfg.flags() {
		switch flag.Names()[0] {
		case "config", "data-dir", "http", "tls-cert", "admin-token-file":
			flags = append(flags, flag)
		}
	}
	return flags
}

// open gives the client, once the flags are known.
func (a *adminClient) open() (*apiClient, error) {
	if err := checkFile(a.cfg.File, a.cfg.flags()); err != nil {
		return nil, &usageError{err}
	}
	if a.format != "text" && a.format != "json" {
		return nil, &usageError{fmt.Errorf("--format is %q: give text or json", a.format)}
	}
	if err := a.cfg.readSecrets(); err != nil {
		return nil, &usageError{err}
	}
	token := a.cfg.AdminToken
	if token.IsZero() {
		path := filepath.Join(a.cfg.DataDir, tokenFile)
		read, err := readSecretFile(path)
		if err != nil {
			return nil, fmt.Errorf("the admin token: %w: give the --data-dir of Postern, or POSTERN_ADMIN_TOKEN", err)
		}
		token = read
	}
	base := strings.TrimSuffix(a.url, "/")
	if base == "" {
		local, err := a.cfg.localURL()
		if err != nil {
			return nil, &usageError{err}
		}
		base = local
	}
	// A redirect would take the token along.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &apiClient{base: base, token: token, http: client}, nil
}

// apiToken is what these commands look at of a token.
type apiToken struct {
	Name          string            `json:"name"`
	DisplayName   string            `json:"displayName"`
	Scopes        []string          `json:"scopes"`
	Accounts      []string          `json:"accounts"`
	AccountLabels map[string]string `json:"accountLabels"`
	ExpireTime    *time.Time        `json:"expireTime"`
	LastUseTime   *time.Time        `json:"lastUseTime"`
	State         string            `json:"state"`
	Token         string            `json:"token"`
}

func createTokenCommand(stdout, stderr io.Writer) *cli.Command {
	admin := &adminClient{}
	var name, expires string
	var scopes, accounts []string
	labels := map[string]string{}
	return &cli.Command{
		Name:  "create",
		Usage: "make a token and print it, this once",
		Description: "The token alone goes to standard output, and its name, which logs have of it, to standard error.\n" +
			"Scopes are accounts:read, accounts:write, messages:read, messages:write, submissions:read,\n" +
			"submissions:send, templates:read, templates:write, events:read, webhooks:admin, tokens:admin and admin.",
		Flags: admin.flags(
			&cli.StringFlag{Name: "name", Destination: &name, Usage: "a `NAME` for people: what the token is for"},
			&cli.StringSliceFlag{Name: "scope", Destination: &scopes, Usage: "what it may do: `SCOPES`, separated by commas or repeated"},
			&cli.StringSliceFlag{Name: "account", Destination: &accounts, Usage: "bind it to these `ACCOUNTS`, such as ann"},
			&cli.StringMapFlag{Name: "account-label", Destination: &labels, Usage: "bind it to accounts that have these labels, `KEY=VALUE`"},
			&cli.StringFlag{Name: "expires", Destination: &expires, Usage: "end it at this `TIME`, such as 2027-01-31T12:00:00Z, or after a duration such as 720h"},
		),
		Action: func(ctx context.Context, _ *cli.Command) error {
			if len(scopes) == 0 {
				return &usageError{errors.New("give what the token may do, such as --scope messages:read")}
			}
			wanted := map[string]any{"displayName": name, "scopes": scopes, "accountLabels": labels}
			var names []string
			for _, account := range accounts {
				names = append(names, "accounts/"+strings.TrimPrefix(account, "accounts/"))
			}
			wanted["accounts"] = names
			if expires != "" {
				end, err := parseExpiry(expires, time.Now())
				if err != nil {
					return &usageError{err}
				}
				wanted["expireTime"] = end.UTC().Format(time.RFC3339)
			}
			client, err := admin.open()
			if err != nil {
				return err
			}
			var made apiToken
			answer, err := client.ask(ctx, http.MethodPost, "/v1/tokens", wanted, &made)
			if err != nil {
				return err
			}
			if admin.format == "json" {
				return printLine(stdout, string(answer))
			}
			if err := printLine(stdout, made.Token); err != nil {
				return err
			}
			return printLine(stderr, made.Name)
		},
	}
}

func listTokensCommand(stdout io.Writer) *cli.Command {
	admin := &adminClient{}
	var all bool
	return &cli.Command{
		Name:  "list",
		Usage: "list the tokens that can be used, the newest first",
		Flags: admin.flags(&cli.BoolFlag{Name: "all", Destination: &all, Usage: "also those that expired or were revoked within 30 days"}),
		Action: func(ctx context.Context, _ *cli.Command) error {
			client, err := admin.open()
			if err != nil {
				return err
			}
			query := url.Values{"pageSize": {"500"}}
			if !all {
				query.Set("state", "ACTIVE")
			}
			raw := []json.RawMessage{} // a list, even when there is none
			for page := "first"; page != ""; {
				var answer struct {
					Tokens []json.RawMessage `json:"tokens"`
					Next   string            `json:"nextPageToken"`
				}
				if _, err := client.ask(ctx, http.MethodGet, "/v1/tokens?"+query.Encode(), nil, &answer); err != nil {
					return err
				}
				raw = append(raw, answer.Tokens...)
				page = answer.Next
				query.Set("pageToken", page)
			}
			if admin.format == "json" {
				listed, err := json.Marshal(map[string]any{"tokens": raw})
				if err != nil {
					return err
				}
				return printLine(stdout, string(listed))
			}
			return tokenTable(stdout, raw)
		},
	}
}

// tokenTable prints a line for each token.
func tokenTable(out io.Writer, tokens []json.RawMessage) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	lines := []string{"NAME\tSTATE\tSCOPES\tACCOUNTS\tEXPIRES\tLAST USED\tFOR"}
	for _, one := range tokens {
		var t apiToken
		if err := json.Unmarshal(one, &t); err != nil {
			return err
		}
		lines = append(lines, strings.Join([]string{
			t.Name, t.State, strings.Join(t.Scopes, ","), t.boundTo(), timeOr(t.ExpireTime, "never"), timeOr(t.LastUseTime, "never"),
			// What somebody called it must not write to the terminal what it likes.
			strings.Trim(fmt.Sprintf("%q", t.DisplayName), `"`),
		}, "\t"))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(table, line); err != nil {
			return err
		}
	}
	return table.Flush()
}

// boundTo is the accounts that a token is for.
func (t *apiToken) boundTo() string {
	var parts []string
	for _, name := range t.Accounts {
		parts = append(parts, strings.TrimPrefix(name, "accounts/"))
	}
	for key, value := range t.AccountLabels {
		parts = append(parts, fmt.Sprintf("%s=%q", key, value))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ",")
}

func timeOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

func revokeTokensCommand(stdout io.Writer) *cli.Command {
	admin := &adminClient{}
	return &cli.Command{
		Name:      "revoke",
		Usage:     "end tokens for good",
		ArgsUsage: "NAME...",
		Description: "Names are those that list prints, such as tokens/ieftna3zmcq4bbwx. Calls that are being made with\n" +
			"the tokens end as well.",
		Flags: admin.flags(),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			names := cmd.Args().Slice()
			if len(names) == 0 {
				return &usageError{errors.New("give the names of the tokens to revoke, as `postern tokens list` has them")}
			}
			client, err := admin.open()
			if err != nil {
				return err
			}
			for _, name := range names {
				path := "/v1/tokens/" + url.PathEscape(strings.TrimPrefix(name, "tokens/")) + ":revoke"
				var revoked apiToken
				answer, err := client.ask(ctx, http.MethodPost, path, struct{}{}, &revoked)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				line := revoked.Name + " " + revoked.State
				if admin.format == "json" {
					line = string(answer)
				}
				if err := printLine(stdout, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// ask calls the API and decodes the answer, which it gives as well.
func (c *apiClient) ask(ctx context.Context, method, path string, body, into any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokensTimeout)
	defer cancel()
	answer, err := c.call(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return answer, json.Unmarshal(answer, into)
}

func printLine(out io.Writer, line string) error {
	_, err := fmt.Fprintln(out, line)
	return err
}

// parseExpiry takes a time, or how long it is until then.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if after, err := time.ParseDuration(text); err == nil && after > 0 {
		return now.Add(after), nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil || !end.After(now) {
		return time.Time{}, fmt.Errorf("--expires is %q: give a time to come such as 2027-01-31T12:00:00Z, or a duration such as 720h", text)
	}
	return end, nil
}
