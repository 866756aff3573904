package presets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"go.yaml.in/yaml/v3"

	"bnkit/checkpoint/durable"
	"bnkit/engine/config"
)

// maxSize is the limit for a file of settings, in bytes. It is far above real files.
const maxSize = 1 << 20

// ReadFile reads a file of settings: YAML with the keys of config.json, or the config.json
// of a run. A missing setting gets its default. The file may be a pipe, for which ReadFile waits
// until ctx is cancelled; the error is then ctx's. Other errors name the file. The error is a
// *config.Error if a setting or the form of the file is wrong.
func ReadFile(ctx context.Context, path string) (config.Config, error) {
	b, err := durable.ReadUpTo(ctx, path, maxSize+1)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, fmt.Errorf("%w; name a YAML file of settings or the config.json of a run", err)
	}
	if err != nil {
		return config.Config{}, err
	}
	c, _, err := parse(b)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// reproducesKey is the only key of a file that is not a setting. Its value describes the
// experiment that the settings reproduce.
const reproducesKey = "reproduces"

// parse parses the content of a file and validates the settings.
func parse(b []byte) (c config.Config, reproduces string, err error) {
	c = config.Default()
	pairs, err := parseMapping(b)
	if err != nil {
		return c, "", err
	}
	seen := map[string]bool{}
	for ; len(pairs) > 0; pairs = pairs[2:] {
		key, value := pairs[0].Value, pairs[1]
		if seen[key] {
			return c, "", fail(key, "line %d: the setting occurs twice", pairs[0].Line)
		}
		seen[key] = true
		var field any = &reproduces
		if s := config.Find(key); s != nil {
			field = s.Field(&c)
		} else if key != reproducesKey {
			return c, "", fail(key, "line %d: the setting does not exist", pairs[0].Line)
		}
		if err := decode(key, value, field); err != nil {
			return c, "", err
		}
	}
	return c, reproduces, c.Validate()
}

// parseMapping parses a document that is one mapping. It returns a list in which each key is
// followed by its value.
func parseMapping(b []byte) ([]*yaml.Node, error) {
	if len(b) > maxSize {
		return nil, fail("file", "it has more than %d bytes, the limit for settings", maxSize)
	}
	var document, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, fail("file", "it is not YAML or JSON: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, fail("file", "it has more than one YAML document")
	}
	if document.Kind == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fail("file", "it has no settings; use lines such as: lr: 0.1")
	}
	return document.Content[0].Content, nil
}

// decode decodes the value n of a key into field. It checks the type first, because the YAML
// package would read 1.5 as 1 and accept an empty value. It refuses numbers in YAML's other
// forms, such as 0x10 and 1_000. YAML would also read 010 as 8, but a flag reads it as 10.
func decode(key string, n *yaml.Node, field any) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	tag := n.ShortTag()
	var want string
	var ok bool
	switch field := field.(type) {
	case *string:
		want, ok = "text", tag == "!!str"
	case *bool:
		want, ok = "true or false", tag == "!!bool"
	case *float64:
		want, ok = "a number", tag == "!!float" || tag == "!!int"
	case *[]int:
		want, ok = "a list of whole numbers, e.g. [80, 120]", tag == "!!seq" || tag == "!!null"
		for _, item := range n.Content {
			ok = ok && item.ShortTag() == "!!int"
		}
		if tag == "!!null" { // an empty list, as in config.json
			*field = []int{}
			return nil
		}
		*field = nil
	default:
		want, ok = "a whole number", tag == "!!int"
	}
	for _, number := range append([]*yaml.Node{n}, n.Content...) {
		if ok && !isPlain(number) {
			return fail(key, "line %d: %.40q must be a decimal number without a plus sign, leading zeros and underscores", number.Line, scalar(number))
		}
	}
	if !ok || n.Decode(field) != nil {
		return fail(key, "line %d: its value must be %s", n.Line, want)
	}
	return nil
}

// isPlain reports whether n is not a number, or a number in a form that flags read in the same
// way.
func isPlain(n *yaml.Node) bool {
	text := scalar(n)
	switch n.ShortTag() {
	case "!!int":
		digits := strings.TrimPrefix(text, "-")
		return strings.Trim(digits, "0123456789") == "" && (digits == "0" || !strings.HasPrefix(digits, "0"))
	case "!!float":
		return !strings.Contains(text, "_")
	}
	return true
}

// scalar returns the text of a scalar or of the scalar that an alias stands for.
func scalar(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Value
}

// fail returns a *config.Error.
func fail(key, format string, args ...any) error {
	return &config.Error{Key: key, Reason: fmt.Sprintf(format, args...)}
}
