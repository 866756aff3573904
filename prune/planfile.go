package prune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
)

// maxPlanBytes is the largest size of a plan's file. It is enough for ten million
// indices of up to five digits.
const maxPlanBytes = 64 << 20

// Encode returns the plan as JSON, with one line for each layer.
func (p *Plan) Encode() ([]byte, error) {
	head := *p
	head.Layers = nil
	b, err := json.MarshalIndent(head, "", "  ")
	if err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(bytes.TrimSuffix(b, []byte("null\n}")))
	out.WriteByte('[')
	for i := range p.Layers {
		line, err := json.Marshal(p.Layers[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n    ")
		out.Write(line)
	}
	out.WriteString("\n  ]\n}\n")
	return out.Bytes(), nil
}

// ReadPlan reads a plan that Encode wrote and a user may have edited. The error is an
// *OptionError if the file is not a plan or the plan keeps no channel of the layers that it lists,
// or an error of the file system. The file may be a pipe, for which ReadPlan waits until ctx is
// cancelled; the error is then ctx's.
func ReadPlan(ctx context.Context, path string) (*Plan, error) {
	b, err := durable.ReadUpTo(ctx, path, maxPlanBytes+1)
	if err != nil {
		return nil, err
	}
	if len(b) > maxPlanBytes {
		return nil, &OptionError{fmt.Sprintf("%s is not a plan: it has more than %d bytes", path, maxPlanBytes)}
	}
	return parsePlan(path, b)
}

// parsePlan parses the content of a plan's file. path names the file in errors.
func parsePlan(path string, b []byte) (*Plan, error) {
	var p Plan
	err := strictjson.Check(b, &p)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err = d.Decode(&p)
	}
	if err != nil {
		return nil, &OptionError{fmt.Sprintf("%s is not a plan: %v", path, err)}
	}
	if p.Beta != BetaKept && p.Beta != BetaZeroed && p.Beta != BetaMean {
		return nil, &OptionError{fmt.Sprintf("%s: beta is %q; use %q, %q or %q", path, p.Beta, BetaKept, BetaZeroed, BetaMean)}
	}
	kept := 0
	for _, l := range p.Layers {
		kept += len(l.Kept)
	}
	if kept == 0 {
		return nil, &OptionError{fmt.Sprintf("%s keeps no channel of the layers that it lists; list the channels that stay in \"kept\"", path)}
	}
	return &p, nil
}
