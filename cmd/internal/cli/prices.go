package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const pricesEnv = "VARVE_PRICES"

// prices are those of a store, in dollars.
type prices struct {
	Storage  float64 `json:"storage"`  // a GiB and month
	Get      float64 `json:"get"`      // a thousand GET requests
	Transfer float64 `json:"transfer"` // a GiB that is read
}

// defaultPrices are those of S3 Standard in us-east-1, read within the region.
var defaultPrices = prices{Storage: 0.023, Get: 0.0004}

const gib = 1 << 30

// month returns the price of so many bytes for a month.
func (p *prices) month(bytes int64) float64 { return p.Storage * float64(bytes) / gib }

// read returns the price of requests that read so many bytes.
func (p *prices) read(gets, bytes int64) float64 {
	return p.Get*float64(gets)/1000 + p.Transfer*float64(bytes)/gib
}

// set is the inverse of String.
func (p *prices) set(text string) error {
	fields := map[string]*float64{"storage": &p.Storage, "get": &p.Get, "transfer": &p.Transfer}
	for item := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		dollars, err := strconv.ParseFloat(value, 64)
		if fields[name] == nil || err != nil || !(dollars >= 0) || dollars > 1e6 {
			return fmt.Errorf("%q: write dollars as in storage=0.023,get=0.0004,transfer=0.09", item)
		}
		*fields[name] = dollars
	}
	return nil
}

// String returns the prices for people.
func (p *prices) String() string {
	words := []string{fmt.Sprintf("$%v a GiB and month", p.Storage), fmt.Sprintf("$%v a thousand GETs", p.Get)}
	if p.Transfer > 0 {
		words = append(words, fmt.Sprintf("$%v a GiB read", p.Transfer))
	}
	text := strings.Join(words, ", ")
	if *p == defaultPrices {
		text += " (S3 Standard in us-east-1; --prices sets others)"
	}
	return text
}

// pricesFlag adds --prices. The returned function gives the prices of the flag, of the
// environment, or the defaults.
func pricesFlag(cmd *cobra.Command, env *Env) func() (prices, error) {
	var text string
	cmd.Flags().StringVar(&text, "prices", "", "`dollars` a GiB and month, a thousand GETs, and a GiB read: storage=0.023,get=0.0004,transfer=0 (default $"+pricesEnv+", or S3 Standard in us-east-1)")
	complete(cmd, "prices", completeStarts("storage="))
	return func() (prices, error) {
		p, from := defaultPrices, "--prices"
		if text == "" {
			text, from = env.getenv(pricesEnv), pricesEnv
		}
		if text == "" {
			return p, nil
		}
		if err := p.set(text); err != nil {
			return p, usagef("%s %w", from, err)
		}
		return p, nil
	}
}

// dollars is an amount for people: two digits that count, if it is below a cent.
func dollars(amount float64) string {
	if amount > 0 && amount < 0.01 {
		digits := strconv.FormatFloat(amount, 'f', 8, 64)
		i := slices.IndexFunc([]byte(digits), func(c byte) bool { return c != '0' && c != '.' })
		if i < 0 {
			return "<$0.00000001"
		}
		return "$" + digits[:min(i+2, len(digits))]
	}
	return fmt.Sprintf("$%.2f", amount)
}
