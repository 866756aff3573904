package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// columnGap is the number of spaces between the columns of a table.
const columnGap = 2

// missing is the text of a cell without a value.
const missing = "–"

// printTable prints rows of cells in columns that are aligned on the right. The first row
// is the heading.
func printTable(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	t.Flush()
}

// tableWidth returns the number of characters in a line of the printed table.
func tableWidth(rows [][]string) int {
	total := 0
	for i := range rows[0] {
		total += columnWidth(rows, i)
	}
	return total
}

// columnWidth returns the width of column i, including the gap.
func columnWidth(rows [][]string, i int) int {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[i]))
	}
	return columnGap + width
}

// transpose returns the table with rows and columns exchanged.
func transpose(rows [][]string) [][]string {
	turned := make([][]string, len(rows[0]))
	for i := range turned {
		for _, row := range rows {
			turned[i] = append(turned[i], row[i])
		}
	}
	return turned
}

// fitColumns returns the table with the columns that fit into a width. ranks holds the rank of
// each column. Columns are kept in order of rank, until one does not fit.
func fitColumns(rows [][]string, ranks []int, width int) [][]string {
	kept := make([]bool, len(ranks))
	for rank, used := 0, 0; ; rank++ {
		found := false
		for i, r := range ranks {
			if r == rank {
				found = true
				used += columnWidth(rows, i)
				kept[i] = used <= width
			}
		}
		if !found || used > width {
			break
		}
	}
	fit := make([][]string, len(rows))
	for i, row := range rows {
		for j, cell := range row {
			if kept[j] {
				fit[i] = append(fit[i], cell)
			}
		}
	}
	return fit
}
