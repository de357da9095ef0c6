// Command attend has a qkv server compute multi-head self-attention on "I love bears", and prints the answer.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"example.com/qkv/connection"
	"example.com/qkv/failure"
	qkvv1 "example.com/qkv/gen/qkv/v1"
	"example.com/qkv/tensor"
)

var words = []string{"I", "love", "bears"}

func main() {
	var security connection.TLS
	security.AddFlags(flag.CommandLine)
	heads := flag.Uint("heads", 2, "attention heads; they divide the 4 features")
	timeout := flag.Duration("timeout", 30*time.Second, "the deadline of the call")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: attend [flags] [target]  (default: QKV_TARGET, else localhost:50051)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	target := connection.DefaultTarget()
	if flag.NArg() == 1 {
		target = flag.Arg(0)
	}

	if err := run(target, security, *timeout, question(uint32(*heads))); err != nil {
		fmt.Fprintln(os.Stderr, "attend:", err)
		os.Exit(1)
	}
}

// question asks for causal self-attention: a word sees itself and the words before it.
func question(heads uint32) *qkvv1.AttentionRequest {
	return &qkvv1.AttentionRequest{
		// A word to a row, a feature to a column. With key and value left unset the query attends to itself.
		Query: tensor.Float32Operand([]int64{3, 4}, []float32{
			0.5, 0.8, 0.2, 0.6,
			0.7, 0.1, 0.9, 0.3,
			0.4, 0.6, 0.3, 0.8,
		}),
		MultiHead:  &qkvv1.MultiHead{Heads: heads},
		Visibility: &qkvv1.Visibility{Causal: true},
		Outputs:    []qkvv1.Quantity{qkvv1.Quantity_QUANTITY_AVERAGED_WEIGHTS},
	}
}

func run(target string, security connection.TLS, timeout time.Duration, request *qkvv1.AttentionRequest) error {
	conn, err := connection.Dial(target, security)
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := qkvv1.NewAttentionServiceClient(conn).Attend(ctx, request)
	if err != nil {
		return failure.Of(err)
	}
	err = printTable("weights, averaged over the heads: how much a word looks at each", answer.GetAveragedWeights())
	if err != nil {
		return err
	}
	return printTable("output: the new embeddings", answer.GetOutput())
}

// printTable prints an answer of rank 2, a row for each word.
func printTable(title string, operand *qkvv1.Operand) error {
	values, err := tensor.Float32Values(operand.GetTensor())
	if err != nil {
		return err
	}
	fmt.Println(title)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := len(values) / len(words)
	for row, word := range words {
		fmt.Fprintf(table, "  %s\t", word)
		for _, feature := range values[row*columns : (row+1)*columns] {
			fmt.Fprintf(table, "%.6f\t", feature)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
