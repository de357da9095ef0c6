// Multi-head self-attention on "I love bears", computed by a qkv server.
#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <exception>
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

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

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
  const std::vector<float> values = Float32Values(operand);
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

void PrintError(const grpc::Status& status) {
  const ErrorDetails details = ReadErrorDetails(status);
  std::cerr << CodeName(status.error_code());
  if (!details.info.reason().empty()) std::cerr << " (" << details.info.reason() << ')';
  // The message says in one line what the violations say field by field.
  if (details.bad_request.field_violations().empty()) std::cerr << ": " << status.error_message();
  std::cerr << '\n';
  for (const auto& violation : details.bad_request.field_violations()) {
    std::cerr << "  " << violation.field() << ": " << violation.description() << '\n';
  }
  if (details.retry_info.has_retry_delay()) {
    std::cerr << "  try again after " << google::protobuf::util::TimeUtil::ToString(details.retry_info.retry_delay())
              << '\n';
  }
}

int Run(const Options& options) {
  const auto stub = qkv::v1::AttentionService::NewStub(Connect(options.target, options.tls ? &*options.tls : nullptr));

  grpc::ClientContext context;
  context.set_deadline(In(options.timeout));
  qkv::v1::AttentionResponse response;
  const grpc::Status status = stub->Attend(&context, Question(options.heads), &response);
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
  try {
    const Options options = ParseOptions(argc, argv);
    if (!options.help) return Run(options);
    std::cout << kUsage;
    return EXIT_SUCCESS;
  } catch (const UsageError& error) {
    std::cerr << "attend: " << error.what() << '\n' << kUsage;
    return kWrongUsage;
  } catch (const std::exception& error) {
    std::cerr << "attend: " << error.what() << '\n';
    return kFailed;
  }
}
