// Command conformance has a qkv server answer a suite of test vectors, as `qkv vectors` writes them, and compares.
//
// Exit status 0: there were cases and all passed; 1: some failed; 2: the suite could not be read.
package main

import (
	"flag"
	"fmt"
	"os"

	"example.com/qkv/connection"
)

func main() {
	var security connection.TLS
	security.AddFlags(flag.CommandLine)
	target := flag.String("target", connection.DefaultTarget(), "`host:port` of the server")
	vectors := flag.String("vectors", "", "the `folder` with manifest.json")
	flag.Parse()
	if *vectors == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	suite, err := readManifest(*vectors)
	if err != nil {
		exit(err)
	}
	conn, err := connection.Dial(*target, security)
	if err != nil {
		exit(err)
	}
	defer conn.Close()

	passed, failed := 0, 0
	for _, vector := range suite.Cases {
		if err := run(conn, *vectors, vector); err != nil {
			fmt.Printf("%s: %v\n", vector.Name, err)
			failed++
		} else {
			passed++
		}
	}
	fmt.Printf("go: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, "conformance:", err)
	os.Exit(2)
}
