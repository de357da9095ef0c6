// Command models asks a qkv server for its models, for the vectors of two texts, and for an answer that comes in pieces.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"example.com/qkv/connection"
	"example.com/qkv/failure"
	qkvv1 "example.com/qkv/gen/qkv/v1"
	"example.com/qkv/tensor"
)

const question = "What do bears eat?"

var texts = []string{"I love bears", "Bears are adorable"}

type options struct {
	embedModel, chatModel string // empty: the one that there is
	vectors               bool
	timeout               time.Duration
}

func main() {
	var security connection.TLS
	var asked options
	security.AddFlags(flag.CommandLine)
	flag.StringVar(&asked.embedModel, "embed-model", "", "the `model` that embeds, where there are several")
	flag.StringVar(&asked.chatModel, "chat-model", "", "the `model` that chats, where there are several")
	flag.BoolVar(&asked.vectors, "vectors", false, "print the vectors, too")
	flag.DurationVar(&asked.timeout, "timeout", 30*time.Second, "the deadline of all calls together")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: models [flags] [target]  (default: QKV_TARGET, else localhost:50051)")
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

	if err := run(target, security, asked); err != nil {
		fmt.Fprintln(os.Stderr, "models:", err)
		os.Exit(1)
	}
}

func run(target string, security connection.TLS, asked options) error {
	conn, err := connection.Dial(target, security)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := qkvv1.NewModelServiceClient(conn)

	ctx, cancel := context.WithTimeout(context.Background(), asked.timeout)
	defer cancel()
	if err := list(ctx, client); err != nil {
		return err
	}
	if err := compare(ctx, client, asked.embedModel, asked.vectors); err != nil {
		return err
	}
	return chat(ctx, client, asked.chatModel)
}

// list prints the models, and what each can be asked for or why it cannot be used.
func list(ctx context.Context, client qkvv1.ModelServiceClient) error {
	answer, err := client.ListModels(ctx, &qkvv1.ListModelsRequest{})
	if err != nil {
		return failure.Of(err)
	}
	for _, model := range answer.GetModels() {
		fmt.Printf("%s: %v %v %s\n", model.GetName(), model.GetState(), model.GetTasks(), model.GetReason())
	}
	return nil
}

// compare prints how alike the texts are: the cosine of the angle between their vectors.
func compare(ctx context.Context, client qkvv1.ModelServiceClient, model string, show bool) error {
	answer, err := client.Embed(ctx, &qkvv1.EmbedRequest{Model: model, Texts: texts})
	if err != nil {
		return failure.Of(err)
	}
	values, err := tensor.Float32Values(answer.GetEmbeddings()) // (texts, D), row after row
	if err != nil {
		return err
	}
	size := len(values) / len(texts)
	first, second := values[:size], values[size:]
	if show {
		fmt.Println("vectors:", values)
	}
	fmt.Printf("%s: cosine of %q and %q: %.6f\n", answer.GetModel(), texts[0], texts[1], cosine(first, second))
	return nil
}

func cosine(a, b []float32) float64 {
	var dot, squaresA, squaresB float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		squaresA += x * x
		squaresB += y * y
	}
	return dot / math.Sqrt(squaresA*squaresB)
}

// chat asks a question and prints the answer piece by piece, as it comes.
func chat(ctx context.Context, client qkvv1.ModelServiceClient, model string) error {
	messages := []*qkvv1.Message{{Role: "user", Content: question}}
	// To break off, cancel the context: the server stops working on the answer.
	stream, err := client.Generate(ctx, &qkvv1.GenerateRequest{
		Model:     model,
		Input:     &qkvv1.GenerateRequest_Chat{Chat: &qkvv1.Chat{Messages: messages}},
		MaxTokens: 40,
	})
	if err != nil {
		return failure.Of(err)
	}
	fmt.Println(question)
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failure.Of(err)
		}
		fmt.Print(piece.GetText())
		if usage := piece.GetUsage(); usage != nil { // the last piece
			fmt.Printf("\n%s: %s after %d tokens\n", piece.GetModel(), piece.GetFinishReason(), usage.GetOutputTokens())
		}
	}
}
