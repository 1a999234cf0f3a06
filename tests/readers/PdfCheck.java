import java.io.FileInputStream;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;

/** Holds a PDF to the standards named, such as 3b or ua1: a line for each rule that fails, and one for each standard. */
public class PdfCheck {
    public static void main(String[] arguments) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        for (int at = 1; at < arguments.length; at++) {
            var flavour = PDFAFlavour.byFlavourId(arguments[at]);
            try (var parser = Foundries.defaultInstance().createParser(new FileInputStream(arguments[0]), flavour);
                    var validator = Foundries.defaultInstance().createValidator(flavour, false)) {
                var result = validator.validate(parser);
                result.getTestAssertions().stream()
                        .filter(each -> each.getStatus() == TestAssertion.Status.FAILED)
                        .map(each -> flavour.getId() + " " + each.getRuleId().getClause() + " " + each.getMessage())
                        .distinct().forEach(System.out::println);
                System.out.println(flavour.getId() + (result.isCompliant() ? " compliant" : " not compliant"));
            }
        }
    }
}
