package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Setting declares one setting.
type Setting struct {
	Key     string // in files, e.g. "lr_drops"
	NoFlag  bool   // whether the command line has no flag that takes the value
	Flag    string // name of the flag; "" if it is Key with - for _, see FlagName
	Group   Group
	Field   func(c *Config) any // returns a pointer to the setting's value in c
	Default any                 // nil for the zero value
	Meaning string              // a phrase for the help and docs/settings.md

	Range  Range    // for a number: the possible values
	Values []string // for a text: the possible values or, with Form, some of them
	Form   string   // for a text: other possible values, e.g. "constant:X"; Check does not check them

	Needs Need // condition under which the setting has an effect

	// AllowUnused makes Validate accept a value that has no effect. An example is the
	// lr_drops of a preset if the user chooses another schedule.
	AllowUnused bool

	Aliases map[string]string // other names of values that Set accepts
}

// Group is a group of settings.
type Group string

// The groups, in the order of the help and of docs/settings.md.
const (
	Network        Group = "network"
	Trainable      Group = "what is trained"
	Optimization   Group = "optimizer"
	Regularisation Group = "regularisation"
	LearningRate   Group = "learning rate"
	Data           Group = "data"
	Run            Group = "run"
)

// Need is a condition on another setting. The zero value is no condition.
type Need struct {
	Key    string
	Values []string // the other setting must have one of these; nil for any value but its default
}

// Range is the range of a setting's number. The zero value allows all numbers.
type Range struct {
	Min, Max           float64 // Max may be infinite
	AboveMin, BelowMax bool    // whether Min is excluded, and whether Max is
	Example            string  // a sensible value, for errors
	bounded            bool
}

// atLeast, above and between return ranges. A range of between includes both ends.
func atLeast(min float64) Range { return Range{Min: min, Max: math.Inf(1), bounded: true} }
func above(min float64) Range {
	return Range{Min: min, Max: math.Inf(1), AboveMin: true, bounded: true}
}
func between(min, max float64) Range { return Range{Min: min, Max: max, bounded: true} }

// excludeMax excludes Max from the range.
func (r Range) excludeMax() Range {
	r.BelowMax = true
	return r
}

// excludeMin excludes Min from the range.
func (r Range) excludeMin() Range {
	r.AboveMin = true
	return r
}

// example sets the range's Example.
func (r Range) example(value string) Range {
	r.Example = value
	return r
}

// contains reports whether v is in the range.
func (r Range) contains(v float64) bool {
	return !r.bounded || !math.IsInf(v, 0) && (v > r.Min || v == r.Min && !r.AboveMin) && (v < r.Max || v == r.Max && !r.BelowMax)
}

// String describes the range, e.g. "from 0 to 1".
func (r Range) String() string {
	switch min, max := number(r.Min), number(r.Max); {
	case !r.bounded:
		return ""
	case math.IsInf(r.Max, 1) && r.AboveMin:
		return "above " + min
	case math.IsInf(r.Max, 1):
		return "of at least " + min
	case r.AboveMin && r.BelowMax:
		return "above " + min + " and below " + max
	case r.AboveMin:
		return "above " + min + " and up to " + max
	case r.BelowMax:
		return "of at least " + min + " and below " + max
	default:
		return "from " + min + " to " + max
	}
}

// number formats v without an exponent.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Find returns the setting with the given key, or nil if there is none.
func Find(key string) *Setting {
	if i := slices.IndexFunc(Settings, func(s *Setting) bool { return s.Key == key }); i >= 0 {
		return Settings[i]
	}
	return nil
}

// FlagName returns the name of the setting's flag, without dashes.
func (s *Setting) FlagName() string {
	if s.Flag != "" {
		return s.Flag
	}
	return strings.ReplaceAll(s.Key, "_", "-")
}

// Inverted reports whether the setting's flag switches the setting off, like --no-augment.
func (s *Setting) Inverted() bool { return s.Flag == "no-"+s.Key }

// Kind is the type of a setting's values.
type Kind string

// The kinds, as errors and docs/settings.md name them.
const (
	Text     Kind = "text"
	Bool     Kind = "true or false"
	Number   Kind = "a number"
	Integer  Kind = "a whole number"
	Unsigned Kind = "a whole number of at least 0"
	Integers Kind = "a list of whole numbers, e.g. 80,120"
)

// Kind returns the type of the setting's values.
func (s *Setting) Kind() Kind {
	switch s.Field(new(Config)).(type) {
	case *string:
		return Text
	case *bool:
		return Bool
	case *float64:
		return Number
	case *uint64:
		return Unsigned
	case *[]int:
		return Integers
	}
	return Integer
}

// Text returns the setting's value in the form that Set accepts.
func (s *Setting) Text(c *Config) string {
	if list, ok := s.Field(c).(*[]int); ok {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(*list), " ", ","), "[]")
	}
	return fmt.Sprint(s.value(c))
}

// Set parses text and sets the setting's value. An empty list is "" or "none". The error
// does not name the setting.
func (s *Setting) Set(c *Config, text string) error {
	if value, ok := s.Aliases[text]; ok {
		text = value
	}
	var err error
	switch field := s.Field(c).(type) {
	case *string:
		*field = text
	case *bool:
		*field, err = strconv.ParseBool(text)
	case *float64:
		*field, err = strconv.ParseFloat(text, 64)
	case *int:
		*field, err = strconv.Atoi(text)
	case *uint64:
		*field, err = strconv.ParseUint(text, 10, 64)
	case *[]int:
		*field, err = parseList(text)
	}
	if err != nil {
		return fmt.Errorf("%q is not %s", text, s.Kind())
	}
	return nil
}

// parseList parses a list of whole numbers that are separated by commas.
func parseList(text string) ([]int, error) {
	list := []int{}
	if text == "" || text == "none" {
		return list, nil
	}
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// Copy copies the setting's value from one configuration to another.
func (s *Setting) Copy(to, from *Config) {
	reflect.ValueOf(s.Field(to)).Elem().Set(reflect.ValueOf(s.Field(from)).Elem())
}

// Effective reports whether the setting has an effect in c.
func (s *Setting) Effective(c *Config) bool {
	if s.Needs.Key == "" {
		return true
	}
	other := Find(s.Needs.Key)
	if s.Needs.Values == nil {
		return !other.IsDefault(c)
	}
	return slices.Contains(s.Needs.Values, other.Text(c))
}

// Check returns an *Error if the setting's value is not possible, or if it has no effect
// because of another setting of c and is neither the default nor AllowUnused. It accepts any
// text if the setting has a Form.
func (s *Setting) Check(c *Config) error {
	switch v := s.value(c).(type) {
	case string:
		if s.Values != nil && s.Form == "" && !slices.Contains(s.Values, v) && !s.IsDefault(c) {
			return fail(s.Key, "%q is unknown; use %s", v, listValues(s.Values))
		}
	case float64:
		if !s.Range.contains(v) {
			return fail(s.Key, "%v; use a number %s%s", v, s.Range, s.example())
		}
	case int:
		if !s.Range.contains(float64(v)) {
			return fail(s.Key, "%d; use a whole number %s%s", v, s.Range, s.example())
		}
	}
	if !s.AllowUnused && !s.IsDefault(c) && !s.Effective(c) {
		return fail(s.Key, "%s", s.explainNoEffect(c))
	}
	return nil
}

// listValues formats the values that the user can choose from.
func listValues(values []string) string {
	if len(values) == 1 {
		return values[0] + ", or leave it out"
	}
	return "one of: " + strings.Join(values, ", ")
}

// example returns the phrase for the range's Example in errors, or "".
func (s *Setting) example() string {
	if s.Range.Example == "" {
		return ""
	}
	return ", e.g. " + s.Range.Example
}

// explainNoEffect returns the reason why the setting, which must not be Effective, has no
// effect in c.
func (s *Setting) explainNoEffect(c *Config) string {
	other := Find(s.Needs.Key)
	if s.Needs.Values == nil {
		return fmt.Sprintf("it does nothing without %s; set both, or neither", other.Key)
	}
	return fmt.Sprintf("it does nothing with %s %s, only with %s", other.Key, other.Text(c), strings.Join(s.Needs.Values, ", "))
}

// value returns the setting's value in c.
func (s *Setting) value(c *Config) any { return reflect.ValueOf(s.Field(c)).Elem().Interface() }

// reset sets the setting to its default.
func (s *Setting) reset(c *Config) {
	field := reflect.ValueOf(s.Field(c)).Elem()
	if s.Default == nil {
		field.SetZero()
		return
	}
	field.Set(reflect.ValueOf(s.Default).Convert(field.Type()))
}

// IsDefault reports whether the setting has its default in c. A NaN is never a default.
func (s *Setting) IsDefault(c *Config) bool {
	var d Config
	s.reset(&d)
	return reflect.DeepEqual(s.value(c), s.value(&d))
}
