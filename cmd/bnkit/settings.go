package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine/config"
)

// addSettings adds flags to a command for the settings of the given groups or, if no group is
// given, for all settings. The flags set the fields of settings.
func addSettings(c *cobra.Command, settings *config.Config, groups ...config.Group) {
	for _, s := range config.Settings {
		if s.NoFlag || len(groups) > 0 && !slices.Contains(groups, s.Group) {
			continue
		}
		flag := c.Flags().VarPF(settingFlag{s, settings}, s.FlagName(), "", usage(s))
		if s.Kind() == config.Bool {
			flag.NoOptDefVal = "true"
		}
		inGroup(c, s.Group, s.FlagName())
		complete := cobra.FixedCompletions(s.Values, cobra.ShellCompDirectiveNoFileComp)
		switch {
		case s.Key == "data":
			complete = cobra.FixedCompletions(s.Values, cobra.ShellCompDirectiveDefault) // paths too
		case s.Kind() == config.Bool:
			complete = completeBool
		}
		completeFlag(c, s.FlagName(), complete)
	}
}

// usage returns the help text of a setting's flag.
func usage(s *config.Setting) string {
	text := s.Meaning
	if s.Inverted() {
		text = "do not " + text
	}
	values := s.Values
	if s.Form != "" {
		values = append(slices.Clone(values), s.Form)
	}
	if len(values) > 0 {
		text += " (" + strings.Join(values, ", ") + ")"
	}
	switch needs := config.Find(s.Needs.Key); {
	case needs == nil:
		return text
	case needs.Inverted():
		return text + "; not with --" + needs.FlagName()
	default:
		return text + strings.TrimSuffix("; only with --"+needs.FlagName()+" "+strings.Join(s.Needs.Values, ", "), " ")
	}
}

// settingFlag is the value of a setting's flag. It implements pflag.Value.
type settingFlag struct {
	*config.Setting
	settings *config.Config
}

func (f settingFlag) Type() string {
	if f.Setting == nil { // pflag also calls it on a zero value
		return ""
	}
	return map[config.Kind]string{
		config.Text: "string", config.Bool: "bool", config.Number: "float", config.Integer: "int", config.Unsigned: "int", config.Integers: "ints",
	}[f.Kind()]
}

func (f settingFlag) String() string {
	if f.Setting == nil {
		return ""
	}
	text := f.Text(f.settings)
	if f.Inverted() {
		return strconv.FormatBool(text == "false")
	}
	return text
}

func (f settingFlag) Set(text string) error {
	if f.Inverted() {
		off, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		text = strconv.FormatBool(!off)
	}
	return f.Setting.Set(f.settings, text)
}

// fillSettings copies base to settings, except the settings whose flags were given.
func fillSettings(flags *pflag.FlagSet, settings *config.Config, base config.Config) {
	for _, s := range config.Settings {
		if !flags.Changed(s.FlagName()) {
			s.Copy(settings, &base)
		}
	}
}

// checkEffect returns an error for a flag on the command line that has no effect. It also
// refuses default values, which Validate accepts, because a user who types a flag expects
// an effect. It skips a flag if the setting that it needs is invalid, because the error
// of Validate is then more helpful.
func checkEffect(c *cobra.Command, settings *config.Config) error {
	for _, s := range config.Settings {
		needs := config.Find(s.Needs.Key)
		if !c.Flags().Changed(s.FlagName()) || s.Effective(settings) || needs.Check(settings) != nil {
			continue
		}
		name := "--" + needs.FlagName()
		reason := "without " + name
		if needs.Inverted() {
			reason = "with " + name
		} else if s.Needs.Values != nil {
			reason = fmt.Sprintf("with %s %s, only with %s", name, needs.Text(settings), strings.Join(s.Needs.Values, ", "))
		}
		return &usageError{c.CommandPath(), fmt.Errorf("--%s does nothing %s", s.FlagName(), reason)}
	}
	return nil
}

// flagError replaces the key of a setting in an error with the name of its flag, unless the
// setting comes from a file, a preset or the run to resume. It returns other errors unchanged.
func flagError(c *cobra.Command, err error) error {
	var e *config.Error
	if !errors.As(err, &e) {
		return err
	}
	flags := c.Flags()
	fromFile := flags.Changed("config") || flags.Changed("preset") || flags.Changed("resume")
	if s := config.Find(e.Key); s != nil && (flags.Changed(s.FlagName()) || !fromFile) {
		return badValue(s.FlagName(), flags.Lookup(s.FlagName()).Value.String(), e.Reason)
	}
	return err
}
