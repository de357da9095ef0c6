#include "conformance/request.h"

#include <google/protobuf/util/json_util.h>

#include <sstream>
#include <stdexcept>

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The element of a repeated field, which grows as far as needed.
Message& Element(Message& message, const FieldDescriptor* field, int index) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  while (reflection->FieldSize(message, field) <= index) reflection->AddMessage(&message, field);
  return *reflection->MutableRepeatedMessage(&message, field, index);
}

// The operand at a path of field names joined by dots, in which a number is an index: "parts.0.output".
qkv::v1::Operand& OperandAt(const std::string& path, Message& request) {
  Message* message = &request;
  std::istringstream steps(path);
  for (std::string step; std::getline(steps, step, '.');) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(step);
    if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      throw std::runtime_error(path + ": the request has no such operand");
    }
    if (field->is_repeated()) {
      std::getline(steps, step, '.');
      if (step.find_first_not_of("0123456789") != step.npos) throw std::runtime_error(path + ": no index");
      message = &Element(*message, field, std::stoi(step));
    } else {
      message = message->GetReflection()->MutableMessage(message, field);
    }
  }
  auto* operand = google::protobuf::DynamicCastToGenerated<qkv::v1::Operand>(message);
  if (operand == nullptr) throw std::runtime_error(path + ": no operand");
  return *operand;
}

}  // namespace

void FillRequest(const Case& vector, const Arrays& arrays, Message& request) {
  const auto status = google::protobuf::util::JsonStringToMessage(vector.request.dump(), &request);
  if (!status.ok()) throw std::runtime_error("request: " + status.ToString());
  for (const auto& [path, name] : vector.inputs) {
    const Array& array = Find(arrays, name);
    qkv::v1::Tensor& tensor = *OperandAt(path, request).mutable_tensor();
    tensor.set_data_type(array.data_type);
    tensor.mutable_shape()->Assign(array.shape.begin(), array.shape.end());
    tensor.set_data(array.data);
  }
}
