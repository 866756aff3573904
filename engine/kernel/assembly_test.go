package kernel

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// These are the instructions that assembly may use. TestAssemblyKeepsToItsFamily fails
// for any other instruction. Before you add one, look up which extension its encoding
// needs for which registers. The lists are written by hand from the processors' manual,
// independently of the check in the generator's package _asm/family.
var (
	// scalarInstructions exist on every amd64 processor. MOVSS and the
	// prefetches belong to SSE, which all have.
	scalarInstructions = strings.Fields(`ADDQ CMPQ DECQ IMUL3Q JAE JB JE JG JL JLE JMP JNE
		LEAQ MOVB MOVL MOVLQSX MOVQ MOVSS MOVWLZX PREFETCHT0 PREFETCHT1 RET SHLL SHLQ SUBQ TESTQ`)

	// avx2Instructions have a VEX encoding in AVX, AVX2 or FMA.
	avx2Instructions = strings.Fields(`VADDPD VADDPS VADDSS VANDPS VBROADCASTSD VBROADCASTSS VCMPPS
		VCVTPS2PD VCVTSI2SSQ VDIVPS VEXTRACTF128 VFMADD213PS VFMADD231PS VFMADD231SS VFNMADD231PS
		VFNMADD231SS VMAXPS VMOVAPS VMOVDQU VMOVHLPS VMOVMSKPS VMOVSHDUP VMOVSS VMOVUPD VMOVUPS VMULPD
		VMULPS VPACKUSDW VPADDD VPAND VPBLENDVB VPBROADCASTB VPCMPEQD VPERMQ VPEXTRW VPMOVZXWD VPOR
		VPSLLD VPSRLD VSUBPD VSUBPS VXORPS VZEROUPPER`)

	// avx512Instructions have an EVEX encoding in AVX-512 F, DQ (the last line)
	// or, for registers of 16 and 32 bytes, VL. VZEROUPPER belongs to AVX.
	avx512Instructions = strings.Fields(`VADDPS VBROADCASTF32X4 VBROADCASTSS VFMADD213PS VFMADD231PS
		VFNMADD231PS VMOVAPS VMOVUPS VMULPS VPERMILPS VSUBPS VZEROUPPER
		VEXTRACTF32X8 VINSERTF32X8 VXORPS`)
)

// avx512Registers matches registers that only AVX-512 has: ZMM and mask registers, and
// vector registers 16 to 31.
var avx512Registers = regexp.MustCompile(`\b(Z[0-9]+|K[0-7]|[XY](1[6-9]|2[0-9]|3[01]))\b`)

// checkAssembly returns the functions in a file of Go assembly, each with its faults:
// instructions that are not listed for its family, and registers that some processors of the
// family lack. A function whose
// name ends in AVX512 belongs to the family avx512; all others belong to avx2.
func checkAssembly(source string) map[string][]string {
	faults := map[string][]string{}
	var function string
	for n, line := range strings.Split(source, "\n") {
		line, _, _ = strings.Cut(line, "//")
		if rest, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			function, _, _ = strings.Cut(rest, "(")
			faults[function] = nil
			continue
		}
		fields := strings.Fields(line)
		if function == "" || len(fields) == 0 || strings.HasSuffix(fields[0], ":") || strings.HasPrefix(line, "#") {
			continue
		}
		if fields[0] == "GLOBL" || fields[0] == "DATA" {
			function = ""
			continue
		}
		fault := func(format string, args ...any) {
			faults[function] = append(faults[function], fmt.Sprintf("line %d, %s: ", n+1, strings.TrimSpace(line))+fmt.Sprintf(format, args...))
		}
		instruction, suffix, suffixed := strings.Cut(fields[0], ".")
		allowed, family := avx2Instructions, "avx2"
		if strings.HasSuffix(function, "AVX512") {
			allowed, family = avx512Instructions, "avx512"
		} else {
			if suffixed {
				fault("the suffix %s needs AVX-512", suffix)
			}
			if r := avx512Registers.FindString(line); r != "" {
				fault("the register %s needs AVX-512", r)
			}
		}
		if !slices.Contains(allowed, instruction) && !slices.Contains(scalarInstructions, instruction) {
			fault("%s is not in the list of the family %s", instruction, family)
		}
	}
	return faults
}

// TestAssemblyKeepsToItsFamily checks that the committed assembly uses only instructions and
// registers of its family. Running it on a processor with AVX-512 would not show that.
func TestAssemblyKeepsToItsFamily(t *testing.T) {
	files, err := filepath.Glob("*.s")
	if err != nil || len(files) < 3 {
		t.Fatalf("got files %v and error %v, want at least 3 files and no error", files, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		functions := checkAssembly(string(source))
		if len(functions) < 8 {
			t.Errorf("%s: found %d functions, want at least 8", file, len(functions))
		}
		for _, function := range slices.Sorted(maps.Keys(functions)) {
			for _, fault := range functions[function] {
				t.Errorf("%s: %s: %s", file, function, fault)
			}
		}
	}
}

// TestCheckAssembly checks that checkAssembly finds instructions and registers of other
// families.
func TestCheckAssembly(t *testing.T) {
	const head = "#include \"textflag.h\"\n\n// func f()\nTEXT ·%s(SB), NOSPLIT, $0\nloop:\n\tVADDPS Y0, Y15, Y1 // not Y16\n\t%s\n\tRET\n\nDATA x<>+0(SB)/4, $(1)\n"
	for _, c := range []struct{ function, line, fault string }{
		{"f", "VADDPS (AX), Y15, Y15", ""},
		{"f", "VADDPS (AX), Y16, Y15", "Y16"},
		{"f", "VADDPS X3, X3, X31", "X31"},
		{"f", "VXORPS Z0, Z0, Z0", "Z0"},
		{"f", "VMOVUPS Y0, K1, (AX)", "K1"},
		{"f", "VFMADD231PS.BCST (AX), Y1, Y2", "BCST"},
		{"f", "VEXTRACTF32X8 $0x01, Y1, (AX)", "VEXTRACTF32X8"},
		{"f", "SHLXQ AX, BX, CX", "SHLXQ"},
		{"fAVX512", "VFMADD231PS.BCST (AX), Z17, Z31", ""},
		{"fAVX512", "VPADDB Z0, Z1, Z2", "VPADDB"}, // AVX-512 BW
	} {
		faults := checkAssembly(fmt.Sprintf(head, c.function, c.line))
		got, ok := faults[c.function]
		if !ok || len(faults) != 1 {
			t.Errorf("%s, %s: found the functions %q, want only %[1]s", c.function, c.line, slices.Sorted(maps.Keys(faults)))
		}
		if c.fault == "" && len(got) > 0 {
			t.Errorf("%s, %s: got faults %q, want none", c.function, c.line, got)
		}
		if c.fault != "" && (len(got) != 1 || !strings.Contains(got[0], c.fault)) {
			t.Errorf("%s, %s: got faults %q, want one with %q", c.function, c.line, got, c.fault)
		}
	}
}
