// An independent server for interop tests of our client: Connect, gRPC-Web and
// gRPC framing over HTTP/1.1, on the loopback address, straight from netmon.proto
// without generated code.
//
//   npm ci
//   node connect_node_server.mjs ../golden/dakr/netmon.binpb 18090
//
// The descriptor set was made in that directory, with Debian's protobuf-compiler and libprotobuf-dev, by
//   protoc -I. -I/usr/include --include_imports --descriptor_set_out=netmon.binpb netmon.proto
//
// Port 0 takes a free one; the first line that is printed names it.
//
// Every call that could be decoded is printed as one line of JSON: rpc, protocol,
// request headers, message. Methods that are not handled below answer
// "unimplemented". Two magic values make it misbehave on purpose:
//   node_name "fail-<code>"     traffic push fails with that Connect code
//   cluster_id "collect-now"    heartbeat is answered with collect_now = true

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { create, createFileRegistry, fromBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';

const [descriptorSetPath, portText] = process.argv.slice(2);
const port = Number(portText);
if (!descriptorSetPath || !Number.isInteger(port)) {
  console.error('usage: node connect_node_server.mjs <descriptor set> <port>');
  process.exit(2);
}

const schema = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorSetPath)));
const message = (name) => schema.getMessage(`api.v1.${name}`);
const service = (name) => schema.getService(`api.v1.${name}`);

// The wire names of the Connect codes.
const FAILURES = {
  canceled: Code.Canceled,
  unknown: Code.Unknown,
  invalid_argument: Code.InvalidArgument,
  deadline_exceeded: Code.DeadlineExceeded,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  permission_denied: Code.PermissionDenied,
  resource_exhausted: Code.ResourceExhausted,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  out_of_range: Code.OutOfRange,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
  unavailable: Code.Unavailable,
  data_loss: Code.DataLoss,
  unauthenticated: Code.Unauthenticated,
};

function printLine(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

// `rpc` is the request's message name without "Request".
function record(rpc, request, context) {
  printLine({
    rpc,
    protocol: context.protocolName,
    headers: Object.fromEntries(context.requestHeader),
    message: toJson(message(`${rpc}Request`), request, { registry: schema }),
  });
}

function register(router) {
  router.service(service('MetricsCollectorService'), {
    sendNetworkTrafficMetrics(request, context) {
      record('SendNetworkTrafficMetrics', request, context);
      if (request.nodeName.startsWith('fail-')) {
        const wanted = request.nodeName.slice('fail-'.length);
        throw new ConnectError('asked to fail', FAILURES[wanted] ?? Code.Unknown);
      }
      return create(message('SendNetworkTrafficMetricsResponse'), { processedCount: request.items.length });
    },
  });
  router.service(service('OperatorHealthService'), {
    reportHealth(request, context) {
      record('ReportHealth', request, context);
      return create(message('ReportHealthResponse'), { collectNow: request.clusterId === 'collect-now' });
    },
  });
}

const server = createServer(connectNodeAdapter({ routes: register }));
server.listen(port, '127.0.0.1', () => {
  printLine({ listening: server.address().port });
});
