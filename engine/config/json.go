package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"bnkit/checkpoint/strictjson"
)

// fileOrder lists the first keys of config.json. The others follow in the order of
// Settings. Keys before track_gradients are always written, except lr_drops before Resolve.
// Other settings are written only if they do not have their default, so that a new setting
// does not change the files of runs that do not use it.
var fileOrder = []string{
	"arch", "shortcut", "data", "trainable", "epochs", "batch", "lr", "lr_drops", "momentum", "weight_decay", "seed", "subset", "augment",
	"with_stats", "track_gradients",
}

// fileSettings returns the settings that the file of c contains, in the order of the file.
func (c *Config) fileSettings() []*Setting {
	var list []*Setting
	for _, key := range fileOrder {
		// Drops that Resolve has not set are left out, so that they are nil again after reading.
		unresolved := key == "lr_drops" && c.LRDrops == nil
		if !unresolved && (key != "track_gradients" || c.TrackGradients) {
			list = append(list, Find(key))
		}
	}
	for _, s := range Settings {
		if !slices.Contains(fileOrder, s.Key) && !s.IsDefault(c) {
			list = append(list, s)
		}
	}
	return list
}

// MarshalJSON returns the object in config.json.
func (c Config) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, s := range c.fileSettings() {
		value, err := json.Marshal(s.Field(&c))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Key, err)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, s.Key), ':')
		b = append(b, value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads the object in config.json. A missing setting gets its default. A key
// that is not a setting is an error.
func (c *Config) UnmarshalJSON(b []byte) error {
	var values map[string]json.RawMessage
	if err := strictjson.Unmarshal(b, &values); err != nil {
		return err
	}
	read := Default()
	for _, key := range slices.Sorted(maps.Keys(values)) {
		s := Find(key)
		if s == nil {
			return fmt.Errorf("%q is not a setting", key)
		}
		if err := json.Unmarshal(values[key], s.Field(&read)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if key == "lr_drops" && read.LRDrops == nil {
			read.LRDrops = []int{} // null is an empty list
		}
	}
	*c = read
	return nil
}

// Encode returns the content of config.json.
func (c *Config) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}
