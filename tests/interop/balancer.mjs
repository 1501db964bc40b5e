// A load balancer without memory: each request goes to the next replica, whatever connection it came over.
//
//   node balancer.mjs PORT REPLICA_PORT…
import http from 'node:http';

const [port, ...replicas] = process.argv.slice(2).map(Number);
let turn = 0;
http
  .createServer((request, response) => {
    const replica = replicas[turn++ % replicas.length];
    const { method, url: path } = request;
    const headers = request.rawHeaders;
    const onward = http.request({ host: '127.0.0.1', port: replica, method, path, headers, agent: false });
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  })
  .listen(port, '127.0.0.1');
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
