/* Runs Kafka's command-line tools one after the other inside one process, because a start of Java costs more than most tools do.
 *
 * A line of JSON in: {"main": class, "args": [...], "stdin": text}; a line of JSON out: {"status": n, "out": text, "err": text}.
 * A tool that would end the process ends its thread instead, with the status that it asked for. One that does not end in time
 * (property tools.seconds) has status 124, and its thread is left behind. */

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    static final int TIMED_OUT = 124;
    static final ObjectMapper json = new ObjectMapper();
    static final Capture out = new Capture();
    static final Capture err = new Capture();

    /* Where a tool prints to. One stream for ever, since tools in Scala keep the first that they see. */
    static class Capture extends OutputStream {
        private ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        public synchronized void write(int value) {
            bytes.write(value);
        }

        public synchronized void write(byte[] from, int start, int count) {
            bytes.write(from, start, count);
        }

        synchronized String take() {
            String text = bytes.toString(StandardCharsets.UTF_8);
            bytes = new ByteArrayOutputStream();
            return text;
        }
    }

    /* Thrown where a tool would have ended the process. */
    static class Ended extends Error {
        Ended() {
            super("the tool ended", null, false, false);
        }
    }

    static int run(String main, String[] args) throws Exception {
        AtomicInteger status = new AtomicInteger(-1);
        List<Runnable> hooks = new ArrayList<>();
        Exit.Procedure end = (code, message) -> {
            status.compareAndSet(-1, code);
            if (message != null)
                System.err.println(message);
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        Thread thread = new Thread(() -> {
            try {
                Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) args);
                status.compareAndSet(-1, 0);
            } catch (InvocationTargetException error) {
                if (!(error.getCause() instanceof Ended)) {
                    error.getCause().printStackTrace();
                    status.compareAndSet(-1, 1);
                }
            } catch (Ended error) {
                // its status is there
            } catch (Throwable error) {
                error.printStackTrace();
                status.compareAndSet(-1, 1);
            }
        });
        thread.setDaemon(true);
        thread.start();
        thread.join(Long.getLong("tools.seconds", 60L) * 1000);
        if (thread.isAlive())
            return TIMED_OUT;
        hooks.forEach(Runnable::run);
        return status.get();
    }

    static ObjectNode answer(JsonNode request) throws Exception {
        List<String> args = new ArrayList<>();
        request.get("args").forEach(word -> args.add(word.asText()));
        System.setIn(new ByteArrayInputStream(request.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        ObjectNode answer = json.createObjectNode();
        answer.put("status", run(request.get("main").asText(), args.toArray(new String[0])));
        answer.put("out", out.take());
        answer.put("err", err.take());
        return answer;
    }

    public static void main(String[] ignored) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(json.writeValueAsString(answer(json.readTree(line))));
        }
        Runtime.getRuntime().halt(0); // threads that tools left behind do not hold us
    }
}
