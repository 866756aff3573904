package main

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	rows := [][]string{{"run", "γ", "accuracy"}, {"first", "0.25", ""}, {"b", "1", "72.00% (69.1–74.7)"}}
	var b strings.Builder
	printTable(&b, rows)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, want := range []string{"    run     γ            accuracy", "  first  0.25                    ", "      b     1  72.00% (69.1–74.7)"} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], want)
		}
	}
	if got := tableWidth(rows); got != utf8.RuneCountInString(lines[0]) {
		t.Errorf("tableWidth is %d, want %d, the number of characters in a line", got, utf8.RuneCountInString(lines[0]))
	}
	if columns := transpose(rows); len(columns) != 3 || columns[2][2] != rows[2][2] || columns[1][0] != "γ" || !reflect.DeepEqual(transpose(columns), rows) {
		t.Errorf("transpose returns %q, want rows and columns of %q exchanged", columns, rows)
	}
	// The columns take 7, 6 and 20 characters.
	for width, want := range map[int][][]string{33: {{"run", "γ", "accuracy"}}, 32: {{"run", "γ"}, {"run", "accuracy"}}, 1: {{"run", "γ"}, {"run", "accuracy"}}} {
		var got [][]string
		for _, block := range columnBlocks(rows, width) {
			got = append(got, block[0])
			if len(block) != len(rows) || block[2][0] != "b" {
				t.Errorf("width %d: the block is %q, want %d rows and b at the start of the third", width, block, len(rows))
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("width %d: blocks with the headings %q, want %q", width, got, want)
		}
	}
	for width, want := range map[int][]string{33: {"run", "γ", "accuracy"}, 32: {"run", "accuracy"}, 27: {"run", "accuracy"}, 26: {"run"}, 7: {"run"}, 3: {"run"}} {
		for _, ranks := range [][]int{{0, 2, 1}, {0, 5, 3}} { // ranks may have gaps
			if got := fitColumns(rows, ranks, width)[0]; !reflect.DeepEqual(got, want) {
				t.Errorf("width %d, ranks %v: columns %q, want %q", width, ranks, got, want)
			}
		}
	}
}
