package filter

// This file reads quantities: 10ms, 1m30s, 1.5MiB, which expr's language does not have.

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/expr-lang/expr/file"
)

// quantity is a number with a unit in an expression.
type quantity struct {
	kind Kind // Duration or Size
	n    int64
}

// sizeUnits are what a size ends in.
var sizeUnits = map[string]float64{
	"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"TiB": 1 << 40,
}

// quantities replaces the quantities of an expression by names as long as they are, so that the
// parser takes them and places stay what they were, and gives what stands at these places.
func (c *compiler[T]) quantities() (plain string, err error) {
	src := []rune(c.source)
	c.literals = map[int]quantity{}
	for i := 0; i < len(src); {
		switch r := src[i]; {
		case r == '"' || r == '\'' || r == '`':
			i = endOfText(src, i)
		case r == '/' && i+1 < len(src) && (src[i+1] == '/' || src[i+1] == '*'):
			i = endOfComment(src, i)
		case isWord(r) && !isDigit(r):
			for i < len(src) && isWord(src[i]) {
				i++
			}
		case isDigit(r):
			from := i
			for i < len(src) && (isWord(src[i]) || src[i] == '.' && i+1 < len(src) && isDigit(src[i+1])) {
				i++
			}
			text := string(src[from:i])
			if isNumber(text) {
				continue
			}
			q, ok := quantityOf(text)
			if !ok {
				return "", c.fail(file.Location{From: from, To: i}, strconv.Quote(text)+" is neither a number, a "+
					"duration nor a size", unitsHint)
			}
			c.literals[from] = q
			for at := from; at < i; at++ {
				src[at] = '_'
			}
		default:
			i++
		}
	}
	return string(src), nil
}

const unitsHint = "durations end in ns, us, ms, s, m or h, sizes in B, kB, MB, GB, KiB, MiB or GiB; addresses and " +
	"times stand in quotes"

// endOfText is the place behind a text in quotes.
func endOfText(src []rune, i int) int {
	quote := src[i]
	for i++; i < len(src) && src[i] != quote; i++ {
		if src[i] == '\\' && quote != '`' {
			i++
		}
	}
	return min(i+1, len(src))
}

func endOfComment(src []rune, i int) int {
	line := src[i+1] == '/'
	for i += 2; i < len(src); i++ {
		if line && src[i] == '\n' || !line && src[i] == '/' && src[i-1] == '*' {
			return i + 1
		}
	}
	return len(src)
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
func isWord(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// isNumber reports whether a text is a number of expr's language.
func isNumber(s string) bool {
	if _, err := strconv.ParseInt(s, 0, 64); err == nil {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil || strings.Trim(s, "0123456789") == "" // too great: the parser says so
}

// quantityOf reads a duration or a size.
func quantityOf(s string) (quantity, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return quantity{Duration, int64(d)}, true
	}
	for unit, factor := range sizeUnits {
		number, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		if v, err := strconv.ParseFloat(number, 64); err == nil && v*factor < math.MaxInt64 {
			return quantity{Size, int64(math.Round(v * factor))}, true
		}
	}
	return quantity{}, false
}
