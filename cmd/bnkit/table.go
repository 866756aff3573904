package main

import (
	"fmt"
	"io"
	"slices"
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

// printFitting prints a table as printTable does. On a terminal it leaves out the columns that do
// not fit, see fitColumns.
func printFitting(w io.Writer, rows [][]string, ranks []int) {
	printTable(w, fitColumns(rows, ranks, outputWidth(w)))
}

// tableColumns returns the width of tables whose columns the user can choose: that of the terminal,
// or defaultColumns if there is none.
func tableColumns(w io.Writer) int {
	if terminalOf(w) == nil {
		return defaultColumns
	}
	return outputWidth(w)
}

// printList prints rows of cells in columns that are aligned on the left, without the columns
// that do not fit into a terminal, see fitColumns. Each line begins with indent.
func printList(w io.Writer, indent string, rows [][]string, ranks []int) {
	rows = fitColumns(rows, ranks, outputWidth(w)-len(indent))
	t := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, indent+strings.Join(row, "\t"))
	}
	t.Flush()
}

// printWithLast prints rows of cells in columns that are aligned on the left. The texts of the last
// column are broken at the width of the terminal.
func printWithLast(w io.Writer, rows [][]string) {
	for _, row := range rows {
		head := ""
		for j, cell := range row[:len(row)-1] {
			head += cell + strings.Repeat(" ", columnWidth(rows, j)-utf8.RuneCountInString(cell))
		}
		printHanging(w, head, row[len(row)-1])
	}
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

// columnBlocks splits a table into tables that fit into a width, each with the first column. A
// column that is too wide has a table of its own.
func columnBlocks(rows [][]string, width int) [][][]string {
	var blocks [][][]string
	firstWidth := columnWidth(rows, 0)
	for i, used := 1, 0; i < len(rows[0]); i++ {
		if used += columnWidth(rows, i); i == 1 || used > width-firstWidth {
			used = columnWidth(rows, i)
			block := make([][]string, len(rows))
			for j, row := range rows {
				block[j] = []string{row[0]}
			}
			blocks = append(blocks, block)
		}
		block := blocks[len(blocks)-1]
		for j, row := range rows {
			block[j] = append(block[j], row[i])
		}
	}
	return blocks
}

// fitColumns returns the table with the columns that fit into a width. ranks holds the rank of
// each column, from 0. Columns are kept in order of rank, until one does not fit. Those of rank 0
// are always kept.
func fitColumns(rows [][]string, ranks []int, width int) [][]string {
	kept := make([]bool, len(ranks))
	used := 0
	for rank := 0; rank <= slices.Max(ranks) && used <= width; rank++ {
		for i, r := range ranks {
			if r == rank {
				used += columnWidth(rows, i)
				kept[i] = used <= width || rank == 0
			}
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
