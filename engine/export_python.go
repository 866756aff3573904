package engine

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"strconv"
	"text/tabwriter"
	"text/template"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

//go:embed module.py.tmpl
var pythonText string

var pythonTemplate = template.Must(template.New("module").Parse(pythonText))

// PythonModule returns the text of a Python module that builds the network in PyTorch and
// loads its state dict from a safetensors file. module and file are the names of the two
// files, which must be in the same folder.
func (e *Exported) PythonModule(module, file string) ([]byte, error) {
	net := e.model.Network
	var b bytes.Buffer
	err := pythonTemplate.Execute(&b, map[string]any{
		"Arch": net.Name, "Module": escapePython(module), "File": escapePython(file), "Units": pythonUnits(net),
		"Channels": net.Input.C, "Height": net.Input.H, "Width": net.Input.W,
		"Features": net.Features(), "Classes": net.Classes,
		"Eps": strconv.FormatFloat(cmp.Or(e.model.Preprocessing.Eps, nn.DefaultEps), 'g', -1, 64),
	})
	return b.Bytes(), err
}

// escapePython returns s escaped for use between the quotes of a Python string.
func escapePython(s string) string {
	q := strconv.QuoteToGraphic(s)
	return q[1 : len(q)-1]
}

// pythonUnits returns a row of the table UNITS for each unit, and one for each shortcut of
// option A.
func pythonUnits(net *arch.Network) string {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprint(t, "    # op,\tname,\tinput,\tinputs,\toutputs,\tkernel,\tstride,\tpadding,\tbias,\tbn,\tadd,\trelu\n")
	row := func(op, name, input string, in, out, kernel, stride, padding int, bias bool, bn, add string, relu bool) {
		fmt.Fprintf(t, "    (%q,\t%q,\t%q,\t%d,\t%d,\t%d,\t%d,\t%d,\t%s,\t%s,\t%s,\t%s),\n",
			op, name, input, in, out, kernel, stride, padding, pythonBool(bias), pythonStringOrNone(bn), pythonStringOrNone(add), pythonBool(relu))
	}
	for i := range net.Units {
		u := &net.Units[i]
		input, add := "picture", ""
		if u.In != arch.Picture {
			input = net.Units[u.In].Name
		}
		if u.Add.Kind != arch.NoResidual {
			add = net.Units[u.Add.From].Name
		}
		if u.Add.Kind == arch.Mapped {
			before, _ := zerosBefore(net, u) // standardForm has replaced all other maps
			source := add
			add = shortcutName(u)
			row("zeros", add, source, net.Units[u.Add.From].OutShape.C, u.OutShape.C, 1, u.Add.Map.Stride, before, false, "", "", false)
		}
		op := [...]string{arch.Convolution: "conv", arch.MaxPool: "maxpool", arch.AveragePool: "avgpool"}[u.Op]
		row(op, u.Name, input, u.InShape.C, u.OutShape.C, u.Kernel, u.Stride, u.Pad, u.Bias, u.BN, add, u.ReLU)
	}
	t.Flush()
	return b.String()
}

func pythonBool(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

// pythonStringOrNone returns a Python string literal, or None if name is "".
func pythonStringOrNone(name string) string {
	if name == "" {
		return "None"
	}
	return strconv.Quote(name)
}
