package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// each visits every command of ours, the group commands too.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		each(c, visit)
	}
}

func TestEveryFlagShowsItsDefaultAndTakesAVariable(t *testing.T) {
	flags := 0
	each(newRoot(), func(c *cobra.Command) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			flags++
			line := regexp.MustCompile(`(?m)^ +(?:-[a-z], )?--` + f.Name + ` .*$`).FindString(c.UsageString())
			if !strings.Contains(line, "(default") && !strings.Contains(line, "(required)") {
				t.Errorf("%s --%s: the help shows no default: %s", c.CommandPath(), f.Name, line)
			}
			if strings.Count(line, "(default") > 1 {
				t.Errorf("%s --%s: the help shows two defaults: %s", c.CommandPath(), f.Name, line)
			}
			if f.Usage == "" || strings.Contains(line, "`") {
				t.Errorf("%s --%s: help %q", c.CommandPath(), f.Name, line)
			}
		})
	})
	if flags < 60 {
		t.Errorf("only %d flags were looked at", flags)
	}
	if got := variable("drain-timeout"); got != "HOPGATE_DRAIN_TIMEOUT" {
		t.Errorf("variable %s", got)
	}
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	each(newRoot(), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.Args == nil {
			t.Errorf("%s takes any argument", c.CommandPath())
		}
		if c.RunE == nil && c.Run == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
	})
}
