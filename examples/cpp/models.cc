// The models of a qkv server, the vectors of two texts, and an answer that comes in pieces.
#include <grpcpp/grpcpp.h>

#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "connection.h"
#include "error_details.h"
#include "options.h"
#include "qkv/v1/models.grpc.pb.h"
#include "tensors.h"

namespace {

using qkv::v1::ModelService;

const char kUsage[] = R"(  --embed-model MODEL     the model that embeds, where there are several
  --chat-model MODEL      the model that chats, where there are several
  --vectors               print the vectors, too
)";

const std::vector<std::string> kTexts = {"I love bears", "Bears are adorable"};
const char kQuestion[] = "What do bears eat?";

// The model that an option names; empty: the one that there is.
std::string Model(const Options& options, const std::string& name) {
  const auto found = options.given.find(name);
  return found == options.given.end() ? "" : found->second;
}

// Prints the models, and what each can be asked for or why it cannot be used.
grpc::Status List(ModelService::Stub& stub, const Options& options) {
  grpc::ClientContext context;
  context.set_deadline(In(options.timeout));
  qkv::v1::ListModelsResponse response;
  const grpc::Status status = stub.ListModels(&context, {}, &response);
  for (const qkv::v1::Model& model : response.models()) {
    std::cout << model.name() << ": " << qkv::v1::ModelState_Name(model.state());
    for (const int task : model.tasks()) std::cout << ' ' << qkv::v1::Task_Name(static_cast<qkv::v1::Task>(task));
    std::cout << ' ' << model.reason() << '\n';
  }
  return status;
}

double Cosine(const float* a, const float* b, std::size_t size) {
  double dot = 0, squares_a = 0, squares_b = 0;
  for (std::size_t index = 0; index < size; ++index) {
    const double x = a[index], y = b[index];
    dot += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  return dot / std::sqrt(squares_a * squares_b);
}

// Prints how alike the texts are: the cosine of the angle between their vectors.
grpc::Status Compare(ModelService::Stub& stub, const Options& options) {
  grpc::ClientContext context;
  context.set_deadline(In(options.timeout));
  qkv::v1::EmbedRequest request;
  request.set_model(Model(options, "embed-model"));
  request.mutable_texts()->Assign(kTexts.begin(), kTexts.end());
  qkv::v1::EmbedResponse response;
  const grpc::Status status = stub.Embed(&context, request, &response);
  if (!status.ok()) return status;
  const std::vector<float> values = Float32Values(response.embeddings());  // (texts, D), row after row
  const std::size_t size = values.size() / kTexts.size();
  if (options.given.count("vectors") > 0) {
    std::cout << "vectors:" << std::setprecision(std::numeric_limits<float>::max_digits10);
    for (const float value : values) std::cout << ' ' << value;
    std::cout << '\n';
  }
  std::cout << response.model() << ": cosine of \"" << kTexts[0] << "\" and \"" << kTexts[1] << "\": " << std::fixed
            << std::setprecision(6) << Cosine(values.data(), values.data() + size, size) << '\n';
  return status;
}

// Asks a question and prints the answer piece by piece, as it comes.
grpc::Status Chat(ModelService::Stub& stub, const Options& options) {
  grpc::ClientContext context;
  context.set_deadline(In(options.timeout));
  qkv::v1::GenerateRequest request;
  request.set_model(Model(options, "chat-model"));
  qkv::v1::Message& message = *request.mutable_chat()->add_messages();
  message.set_role("user");
  message.set_content(kQuestion);
  request.set_max_tokens(40);
  std::cout << kQuestion << '\n';
  // To break off, call context.TryCancel(): the server stops working on the answer.
  const auto pieces = stub.Generate(&context, request);
  for (qkv::v1::GenerateResponse piece; pieces->Read(&piece);) {
    std::cout << piece.text() << std::flush;
    if (piece.has_usage()) {  // the last piece
      std::cout << '\n'
                << piece.model() << ": " << qkv::v1::FinishReason_Name(piece.finish_reason()) << " after "
                << piece.usage().output_tokens() << " tokens\n";
    }
  }
  return pieces->Finish();
}

int Run(const Options& options) {
  const auto stub = ModelService::NewStub(Connect(options.target, options.tls));
  for (const auto call : {List, Compare, Chat}) {
    if (const grpc::Status status = call(*stub, options); !status.ok()) {
      PrintError(status);
      return kFailed;
    }
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  return Main({"models",
               kUsage,
               {{"embed-model", required_argument, nullptr, 0},
                {"chat-model", required_argument, nullptr, 0},
                {"vectors", no_argument, nullptr, 0}},
               Run},
              argc, argv);
}
