// Multi-head self-attention on "I love bears", computed by a qkv server.
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

#include "connection.h"
#include "error_details.h"
#include "options.h"
#include "qkv/v1/attention.grpc.pb.h"
#include "tensors.h"

namespace {

const char kUsage[] = "  --heads N               attention heads; they divide the 4 features (2)\n";

const std::vector<std::string> kWords = {"I", "love", "bears"};

qkv::v1::AttentionRequest Question(unsigned heads) {
  qkv::v1::AttentionRequest request;
  // A word to a row, a feature to a column. With key and value left unset, the query attends to itself.
  *request.mutable_query() = Float32Operand({3, 4}, {0.5, 0.8, 0.2, 0.6,  //
                                                     0.7, 0.1, 0.9, 0.3,  //
                                                     0.4, 0.6, 0.3, 0.8});
  request.mutable_multi_head()->set_heads(heads);
  request.mutable_visibility()->set_causal(true);
  request.add_outputs(qkv::v1::QUANTITY_AVERAGED_WEIGHTS);
  return request;
}

// A table of a tensor of rank 2, a row for each word.
void Print(const std::string& title, const qkv::v1::Operand& operand) {
  const std::vector<float> values = Float32Values(operand.tensor());
  const std::size_t columns = values.size() / kWords.size();
  std::cout << title << '\n' << std::fixed << std::setprecision(6);
  for (std::size_t row = 0; row < kWords.size(); ++row) {
    std::cout << std::setw(7) << kWords[row];
    for (std::size_t column = 0; column < columns; ++column) {
      std::cout << std::setw(10) << values[row * columns + column];
    }
    std::cout << '\n';
  }
}

int Run(const Options& options) {
  const auto stub = qkv::v1::AttentionService::NewStub(Connect(options.target, options.tls));

  grpc::ClientContext context;
  context.set_deadline(In(options.timeout));
  qkv::v1::AttentionResponse response;
  const grpc::Status status = stub->Attend(&context, Question(NumberOf(options, "heads", 2u)), &response);
  if (!status.ok()) {
    PrintError(status);
    return kFailed;
  }
  Print("weights, averaged over the heads: how much each word looks at I, love, bears", response.averaged_weights());
  Print("output: the new embeddings", response.output());
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  return Main({"attend", kUsage, {{"heads", required_argument, nullptr, 0}}, Run}, argc, argv);
}
